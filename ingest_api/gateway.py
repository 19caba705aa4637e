"""The gateway's parts, put together: the outbox, what publishes from it, and the routes over it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from ingest_api.app import routes
from ingest_api.broker_link import Link, Listener
from ingest_api.dispatcher import Dispatcher
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox import Outbox
from shared.broker import Login
from shared.health import Check, answers
from shared.http import Routes
from shared.settings import IngestSettings

OLD_S = 900.0
"""A batch that waits for longer says that nobody stores any."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """What a process that serves it needs of it.

    Attributes:
        routes: of its HTTP interface.
        checks: what has to hold for it to be ready.
        dispatcher: the connection to the broker.

    """

    routes: Routes
    checks: Mapping[str, Check]
    dispatcher: Dispatcher


@contextmanager
def gateway(settings: IngestSettings, registry: CollectorRegistry) -> Iterator[Gateway]:
    """Put it together, and take it apart in the end.

    Raises:
        InvalidSettings: the outbox cannot be used.

    """
    metrics = IngestMetrics(registry)
    outbox = Outbox(settings.data_dir, settings.outbox_max_bytes)
    metrics.watch(outbox)

    def connect(listener: Listener) -> Link:
        login = Login.of(settings)
        return Link(settings.mqtt_host, settings.mqtt_port, f"gateways/{outbox.name}/receipts", listener, login)

    dispatcher = Dispatcher(outbox, connect, metrics.dropped.set)
    dispatcher.start()
    checks = {
        "broker": dispatcher.is_connected,
        "outbox": lambda: outbox.has_room() and answers(outbox.oldest_s)() and outbox.oldest_s() < OLD_S,
    }
    try:
        yield Gateway(
            routes(outbox, dispatcher.accepted, metrics, allow_negative=settings.allow_negative), checks, dispatcher
        )
    finally:
        dispatcher.close()
        outbox.close()
