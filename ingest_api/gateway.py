"""The gateway's parts, put together: the outbox, what publishes from it, and the routes over it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from secrets import token_hex

from prometheus_client import CollectorRegistry

from ingest_api.delivery.dispatcher import Dispatcher
from ingest_api.delivery.mqtt_link import Link, Listener
from ingest_api.http.routes import routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from shared.domain.errors import Unavailable
from shared.http.app import Routes
from shared.http.health import Check
from shared.runtime.mqtt_client import Login
from shared.runtime.process import return_large_blocks
from shared.runtime.settings import IngestSettings

OLD_S = 900.0
"""A batch that waits for longer says that nobody stores any."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """What a process that serves it needs of it.

    Attributes:
        routes: of its HTTP interface.
        checks: what has to hold for it to be ready.
        await_connection: waits a little for the broker.
        let_go: has nobody wait for a receipt any more; may be called from a signal's handler.

    """

    routes: Routes
    checks: Mapping[str, Check]
    await_connection: Callable[[], None]
    let_go: Callable[[], None]


@contextmanager
def gateway(settings: IngestSettings, registry: CollectorRegistry) -> Iterator[Gateway]:
    """Put it together, and take it apart in the end.

    Raises:
        InvalidSettings: the outbox cannot be used.
        Unavailable: its disk is full.

    """
    return_large_blocks()
    metrics = IngestMetrics(registry)
    outbox = Outbox(settings.data_dir, settings.outbox_max_bytes, settings.outbox_sender_bytes)
    metrics.watch(outbox)
    receipts_topic = new_receipts_topic()

    def make_link(listener: Listener) -> Link:
        login = Login.of(settings)
        return Link(settings.mqtt_host, settings.mqtt_port, receipts_topic, listener, login)

    dispatcher = Dispatcher(outbox, make_link, metrics.dropped.set)
    dispatcher.start()
    checks = {"broker": dispatcher.is_connected, "outbox": lambda: is_well(outbox)}
    ours = routes(outbox, metrics, settings.rules)
    try:
        yield Gateway(ours, checks, dispatcher.await_connection, outbox.let_go)
    finally:
        dispatcher.close()
        outbox.close()


def new_receipts_topic() -> str:
    """Name the topic on which the worker answers one process: another one at each start, which nobody can guess."""
    return f"gateways/{token_hex(16)}/receipts"


def is_well(outbox: Outbox) -> bool:
    """Tell whether an outbox takes batches, and somebody stores them."""
    try:
        return outbox.can_accept() and outbox.oldest_s() < OLD_S
    except Unavailable:
        return False
