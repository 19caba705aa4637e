"""The gateway: an outbox, the dispatcher that publishes it, and the routes that fill it."""

from collections.abc import Mapping
from itertools import cycle
from secrets import token_hex

from prometheus_client import CollectorRegistry

from ingest_api.delivery.dispatcher import Dispatcher
from ingest_api.delivery.mqtt_link import Link, Listener
from ingest_api.delivery.publisher import Publisher
from ingest_api.http.routes import routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from shared.domain.errors import Unavailable
from shared.http.health import Check
from shared.runtime.mqtt_client import Login
from shared.runtime.process import return_large_blocks
from shared.runtime.settings import IngestSettings

OLD_S = 900.0
"""A batch that waits longer is a sign that no worker stores batches."""


class Gateway:
    """What a process needs to serve the gateway.

    Attributes:
        routes: its HTTP routes.
        checks: its readiness checks.

    """

    def __init__(self, settings: IngestSettings, registry: CollectorRegistry) -> None:
        """Open the outbox and start publishing.

        Raises:
            InvalidSettings: the outbox cannot be used.
            Unavailable: its disk is full.

        """
        return_large_blocks()
        metrics = IngestMetrics(registry)
        self._outbox = Outbox(settings.data_dir, settings.outbox_max_bytes, settings.outbox_sender_bytes)
        metrics.watch(self._outbox)
        receipts_topic, login = new_receipts_topic(), Login.of(settings)
        addresses = cycle(settings.broker.addresses)

        def make_link(listener: Listener) -> Link:
            return Link(*next(addresses), receipts_topic, listener, login)

        self._dispatcher = Dispatcher(lambda: Publisher(self._outbox, metrics.dropped.set), make_link)
        self._dispatcher.start()
        self.routes = routes(self._outbox, metrics, settings.rules, conflict_wait_s=settings.conflict_wait_s)
        self.checks: Mapping[str, Check] = {
            "broker": self._dispatcher.is_connected,
            "outbox": lambda: is_well(self._outbox),
        }

    def await_connection(self) -> None:
        """Wait a little for the broker."""
        self._dispatcher.await_connection()

    def stop_waiting(self) -> None:
        """Answer all requests that wait for a receipt. May be called from a signal handler."""
        self._outbox.stop_waiting()

    def close(self) -> None:
        """Stop publishing, and close the outbox."""
        self._dispatcher.close()
        self._outbox.close()


def new_receipts_topic() -> str:
    """Return a topic for the worker's receipts: a new one at each start, which nobody can guess."""
    return f"gateways/{token_hex(16)}/receipts"


def is_well(outbox: Outbox) -> bool:
    """Return whether an outbox accepts batches, and its batches are being stored."""
    try:
        return outbox.can_accept() and outbox.oldest_s() < OLD_S
    except Unavailable:
        return False
