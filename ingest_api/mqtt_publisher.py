"""Publishing over MQTT 5 with QoS 1, and believing only the reason code of the broker's PUBACK."""

import logging
import threading
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from shared.errors import Unavailable

log = logging.getLogger(__name__)

PUBACK_S = 10.0
KEEPALIVE_S = 15
MAX_IN_FLIGHT = 1000
MAX_DOUBTFUL_BYTES = 64 * 1024 * 1024
NO_SUBSCRIBER = 0x10


class MqttPublisher:
    """A connection to the broker that comes back by itself; `publish` may be called from any thread."""

    def __init__(self, host: str, port: int) -> None:
        """Begin to connect; until that has worked, `publish` raises `Unavailable`."""
        self._codes: dict[int, ReasonCode] = {}
        self._doubtful: list[tuple[MQTTMessageInfo, int]] = []
        self._lock = threading.Lock()
        self._client = client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        client.reconnect_delay_set(1, 5)

        def published(_c: Client, _u: Any, mid: int, code: ReasonCode, _p: Properties | None) -> None:
            self._codes[mid] = code  # before paho wakes who waits for it; no lock: paho holds its own here

        def connected(_c: Client, _u: Any, _f: ConnectFlags, code: ReasonCode, _p: Properties | None) -> None:
            log.log(logging.ERROR if code.is_failure else logging.INFO, "the broker at %s:%d: %s", host, port, code)

        def disconnected(_c: Client, _u: Any, _f: DisconnectFlags, code: ReasonCode, _p: Properties | None) -> None:
            log.warning("the connection to the broker ended: %s", code)

        client.on_publish, client.on_connect, client.on_disconnect = published, connected, disconnected
        client.connect_async(host, port, KEEPALIVE_S)
        client.loop_start()

    def is_connected(self) -> bool:
        """Tell whether there is a connection now."""
        return self._client.is_connected()

    def publish(self, topic: str, payload: bytes) -> None:
        """See `Publisher`."""
        self._refuse_flood()
        if not self._client.is_connected():  # paho would keep the message in memory and send it later
            raise Unavailable("the broker is away")
        info = self._client.publish(topic, payload, qos=1)
        try:
            info.wait_for_publish(PUBACK_S)  # says nothing on a time-out, and raises if the connection was just lost
        except (RuntimeError, ValueError) as error:
            log.debug("publish: %s", error)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS or not info.is_published():
            with self._lock:
                self._doubtful.append((info, len(payload)))
            raise Unavailable("the broker did not confirm the message in time")
        code = self._codes.pop(info.mid)
        if code.value == NO_SUBSCRIBER:
            raise Unavailable("no worker has ever subscribed at the broker")
        if code.is_failure:
            raise Unavailable(f"the broker refused the message: {code}")

    def _refuse_flood(self) -> None:
        """Bound what paho holds of messages whose senders no longer wait."""
        with self._lock:
            self._doubtful = [(info, size) for info, size in self._doubtful if not info.is_published()]
            if sum(size for _, size in self._doubtful) > MAX_DOUBTFUL_BYTES:
                raise Unavailable("too much is waiting for the broker")

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()
