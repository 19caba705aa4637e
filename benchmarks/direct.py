"""A gateway without an outbox, as a baseline: it answers a POST when the broker has confirmed the batch.

Routes, checks and server are those of the real gateway.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest_api.http.routes import routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.entry import Entry
from shared.contract.status import BatchKey, BatchStatus
from shared.contract.topics import readings_topic
from shared.domain.errors import Unavailable
from shared.http import metrics
from shared.http.app import make_app
from shared.http.server import Server
from shared.http.token_file import access_by
from shared.http.tokens import Access
from shared.runtime.mqtt_client import send_at_once
from shared.runtime.process import announce_ready, on_stop, run
from shared.runtime.settings import IngestSettings

CONFIRMED_WITHIN_S = 10.0
IN_FLIGHT = 1000


class Direct:
    """Replaces the outbox: publishes each batch, and waits for the PUBACK."""

    def __init__(self, host: str, port: int) -> None:
        """Connect."""
        self._codes: dict[int, ReasonCode] = {}
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.max_inflight_messages_set(IN_FLIGHT)
        send_at_once(self._client)
        connected = threading.Event()

        def published(_c: Client, _u: Any, mid: int, code: ReasonCode, _p: Properties | None) -> None:
            self._codes[mid] = code  # paho wakes the waiting thread after this

        self._client.on_publish = published
        self._client.on_connect = lambda *_: connected.set()
        self._client.connect(host, port)
        self._client.loop_start()
        if not connected.wait(CONFIRMED_WITHIN_S):
            raise Unavailable("the broker does not answer")

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()

    def accept(self, entry: Entry) -> tuple[BatchStatus, bool]:
        """See `Acceptor`."""
        info = self._client.publish(readings_topic(entry.ship), entry.payload, qos=1)
        if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            info.wait_for_publish(CONFIRMED_WITHIN_S)  # returns also on a timeout
        code = self._codes.pop(info.mid, None)
        if code is None or code.value:
            raise Unavailable(f"the broker has not taken the batch: {code}")
        return BatchStatus(entry.batch_id, entry.ship, entry.readings, "accepted"), True

    def accept_all(self, entries: Sequence[Entry]) -> list[tuple[BatchStatus, bool]]:
        """See `Acceptor`."""
        return [self.accept(each) for each in entries]

    def status(self, batch_id: UUID, access: Access) -> BatchStatus | None:  # noqa: ARG002  # it remembers none
        """See `Acceptor`."""
        return None

    def await_decision(self, key: BatchKey, wait_s: float) -> BatchStatus | None:  # noqa: ARG002  # the same
        """See `Acceptor`."""
        return None


def main() -> None:
    """Serve until a signal stops the process."""
    settings = IngestSettings.load(os.environ)
    registry = metrics.new_registry()
    direct = Direct(settings.mqtt_host, settings.mqtt_port)
    try:
        ours = routes(direct, IngestMetrics(registry))
        app = make_app(metrics.routes(registry), ours, access=access_by(settings.api_tokens_file))
        server = Server(app, settings.http_host, settings.http_port)
        on_stop(server.stop)
        announce_ready()
        server.run()
    finally:
        direct.close()


if __name__ == "__main__":
    run(main)
