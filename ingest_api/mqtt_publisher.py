"""Publishing over MQTT 5 with QoS 1, and believing only the reason code of the broker's PUBACK."""

import logging
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from shared.broker import ANONYMOUS, CHECK, Login
from shared.errors import Unavailable
from shared.topics import DROPPED

log = logging.getLogger(__name__)

PUBACK_S = 10.0
KEEPALIVE_S = 15
MAX_IN_FLIGHT = 1000
MAX_DOUBTFUL_BYTES = 64 * 1024 * 1024
MAX_WAITING = 24
"""Fewer than the threads that serve HTTP: a broker that hangs must not keep the others from an answer."""
TURN_S = 1.0
FIRST_CONNECTION_S = 5.0
NO_SUBSCRIBER = 0x10


class MqttPublisher:
    """A connection to the broker that comes back by itself; `publish` may be called from any thread."""

    def __init__(
        self, host: str, port: int, login: Login = ANONYMOUS, *, dropped: Callable[[float], None] = lambda _: None
    ) -> None:
        """Begin to connect; until that has worked, `publish` raises `Unavailable`.

        `dropped` is called with what the broker tells on `DROPPED`, where its rules let us read that.
        """
        self._codes: dict[int, ReasonCode] = {}
        self._doubtful: dict[int, int] = {}
        """Bytes by packet identifier: what paho still holds, though its sender has been told that it failed."""
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(MAX_WAITING)
        self._was_connected = threading.Event()
        self._client = client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        login.apply_to(client)
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        client.reconnect_delay_set(1, 5)

        def published(_c: Client, _u: Any, mid: int, code: ReasonCode, _p: Properties | None) -> None:
            with self._lock:  # paho holds its own lock here: never hold this one around a call to paho
                if self._doubtful.pop(mid, None) is None:
                    self._codes[mid] = code  # paho wakes whoever waits for it after this

        def connected(client: Client, _u: Any, _f: ConnectFlags, code: ReasonCode, _p: Properties | None) -> None:
            if code.is_failure:
                log.error("the broker at %s:%d refuses the connection: %s; %s", host, port, code, CHECK)
            else:
                log.info("connected to the broker at %s:%d", host, port)
                self._was_connected.set()
                client.subscribe(DROPPED)  # where that is refused, nothing comes, and nothing else changes

        def away(_c: Client, _u: Any) -> None:
            log.warning("no broker at %s:%d: %s", host, port, str(sys.exception()))

        def told(_c: Client, _u: Any, message: MQTTMessage) -> None:
            with suppress(ValueError):  # any error would end paho's thread
                dropped(float(message.payload))

        def disconnected(_c: Client, _u: Any, _f: DisconnectFlags, code: ReasonCode, _p: Properties | None) -> None:
            log.warning("the connection to the broker ended: %s", code)

        client.on_publish, client.on_connect, client.on_disconnect = published, connected, disconnected
        client.on_connect_fail, client.on_message = away, told
        client.connect_async(host, port, KEEPALIVE_S)
        client.loop_start()

    def is_connected(self) -> bool:
        """Tell whether there is a connection now."""
        return self._client.is_connected()

    def await_connection(self) -> None:
        """Wait a little for the first connection, so that whoever is told that all is ready finds it so."""
        self._was_connected.wait(FIRST_CONNECTION_S)

    def publish(self, topic: str, payload: bytes) -> None:
        """See `Publisher`."""
        if not self._turns.acquire(timeout=TURN_S):
            raise Unavailable("too many are waiting for the broker")
        try:
            code = self._confirmation(topic, payload)
        finally:
            self._turns.release()
        if code.value == NO_SUBSCRIBER:
            raise Unavailable("no worker has ever subscribed at the broker")
        if code.is_failure:
            raise Unavailable(f"the broker refused the message: {code}")

    def _confirmation(self, topic: str, payload: bytes) -> ReasonCode:
        with self._lock:
            if sum(self._doubtful.values()) > MAX_DOUBTFUL_BYTES:
                raise Unavailable("too much is waiting for the broker")
        if not self._client.is_connected():  # paho would keep the message in memory and send it later
            raise Unavailable("the broker is away")
        info = self._client.publish(topic, payload, qos=1)
        if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            info.wait_for_publish(PUBACK_S)  # says nothing on a time-out
        with self._lock:
            code = self._codes.pop(info.mid, None)
            if code is None:
                self._doubtful[info.mid] = len(payload)
        if code is None:
            raise Unavailable("the broker did not confirm the message in time")
        return code

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()
