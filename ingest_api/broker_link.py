"""The gateway's end of MQTT: one object per connection, thrown away when that is lost."""

import logging
import threading
from contextlib import suppress
from typing import Any, Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from shared.broker import ANONYMOUS, CHECK, Login
from shared.errors import Unavailable
from shared.topics import DROPPED

log = logging.getLogger(__name__)

KEEPALIVE_S = 15
HANDSHAKE_S = 10.0
MAX_IN_FLIGHT = 1000


class Listener(Protocol):
    """Who hears what the broker says; called from the connection's own thread, and must not block it."""

    def refused(self, why: str) -> None:
        """Learn that the broker did not take a message, or gave it to nobody."""
        ...

    def receipt(self, payload: bytes, correlation: bytes) -> None:
        """Get a receipt."""
        ...

    def dropped(self, count: float) -> None:
        """Learn how many messages the broker has dropped."""
        ...

    def lost(self) -> None:
        """Learn that this connection has ended."""
        ...


class Link:
    """One connection to the broker, subscribed to the gateway's receipts."""

    def __init__(self, host: str, port: int, receipts_topic: str, listener: Listener, login: Login = ANONYMOUS) -> None:
        """Connect and subscribe.

        Raises:
            Unavailable: the broker does not answer in time, or refuses.

        """
        self._receipts_topic = receipts_topic
        self._answers = threading.Condition()
        self._said: list[ReasonCode] = []
        self._client = self._make(listener)
        login.apply_to(self._client)
        try:
            self._client.connect(host, port, KEEPALIVE_S)
            self._client.loop_start()
            self._await("connection", f"{host}:{port}")
            self._client.subscribe(receipts_topic, qos=1)
            self._await("subscription to its receipts", f"{host}:{port}")
            self._client.subscribe(DROPPED)  # where that is refused, nothing comes, and nothing else changes
        except OSError as error:
            self.close()
            raise Unavailable(f"no broker at {host}:{port}: {error}") from None
        except BaseException:
            self.close()
            raise

    def _make(self, listener: Listener) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False)
        client.max_inflight_messages_set(MAX_IN_FLIGHT)

        def connected(_c: Client, _u: Any, _f: ConnectFlags, code: ReasonCode, _p: Properties | None) -> None:
            self._answer([code])

        def subscribed(_c: Client, _u: Any, _mid: int, codes: list[ReasonCode], _p: Properties | None) -> None:
            self._answer(codes)

        def published(_c: Client, _u: Any, _mid: int, code: ReasonCode, _p: Properties | None) -> None:
            if code.value:  # no failure, it may be, but 0x10 says that nobody has got it
                listener.refused(str(code))

        def told(_c: Client, _u: Any, message: MQTTMessage) -> None:
            if message.topic == DROPPED:
                with suppress(ValueError):  # any error would end paho's thread
                    listener.dropped(float(message.payload))
            else:
                listener.receipt(bytes(message.payload), getattr(message.properties, "CorrelationData", b""))

        def disconnected(_c: Client, _u: Any, _f: DisconnectFlags, code: ReasonCode, _p: Properties | None) -> None:
            self._answer([code])
            listener.lost()

        client.on_connect, client.on_subscribe, client.on_publish = connected, subscribed, published
        client.on_message, client.on_disconnect = told, disconnected
        return client

    def _answer(self, codes: list[ReasonCode]) -> None:
        with self._answers:
            self._said += codes
            self._answers.notify_all()

    def _await(self, what: str, where: str) -> None:
        with self._answers:
            if not self._answers.wait_for(lambda: self._said, HANDSHAKE_S):
                raise Unavailable(f"the broker at {where} does not answer the {what}")
            code = self._said.pop(0)
        if code.is_failure:
            log.error("the broker at %s refuses the %s: %s; %s", where, what, code, CHECK)
            raise Unavailable(f"the broker at {where} refuses the {what}: {code}")

    def publish(self, topic: str, payload: bytes, correlation: bytes) -> None:
        """Send a message with QoS 1, and do not wait.

        Raises:
            Unavailable: the connection is lost.

        """
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it so
        properties.ResponseTopic = self._receipts_topic
        properties.CorrelationData = correlation
        info = self._client.publish(topic, payload, qos=1, properties=properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise Unavailable("the connection to the broker is lost")

    def is_connected(self) -> bool:
        """Tell whether the connection stands."""
        return self._client.is_connected()

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()
