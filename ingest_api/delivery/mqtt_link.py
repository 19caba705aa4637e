"""The gateway's end of MQTT: one object per connection, thrown away when that is lost."""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest_api.outbox.batch_status import BatchKey
from shared.contract.mqtt_publish import Message, answer_properties, read_publish
from shared.contract.topics import DROPPED
from shared.domain.errors import Unavailable
from shared.runtime.mqtt_client import ANONYMOUS, CHECK, Login, send_at_once

log = logging.getLogger(__name__)

KEEPALIVE_S = 15
CONNECT_S = 3.0
HANDSHAKE_S = 10.0
GOODBYE_S = 1.0
ANY_NUMBER = 65_535
PACKET_BYTES = 256
"""What a PUBLISH of ours has besides its payload, at most."""


class LinkRefused(Unavailable):
    """The broker does not let us in; somebody has to change a setting, here or there."""


class Listener(Protocol):
    """Who hears what the broker says; called from the connection's own thread, and must not block it."""

    def refused(self, key: BatchKey, why: str) -> None:
        """Learn that the broker did not take a batch, or gave it to nobody."""
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


class _Client(Client):
    """paho's client, whose thread never ends in silence, and never looks connected after its end.

    Nor does it read a PUBLISH as paho does, which takes half as long as all else that a receipt costs.
    """

    def __init__(self, told: Callable[[Message], None], ended: Callable[[], None]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False)
        self._told, self._ended = told, ended

    def _handle_publish(self) -> MQTTErrorCode:
        self._told(read_publish(self._in_packet["command"], bytes(self._in_packet["packet"])))
        return MQTTErrorCode.MQTT_ERR_SUCCESS  # what we subscribe to comes with QoS 0: nobody waits for a word of ours

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:  # noqa: FBT001, FBT002  # paho's
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception:
            log.exception("the connection to the broker has failed")
            return MQTTErrorCode.MQTT_ERR_UNKNOWN
        finally:
            self._ended()

    def loop_stop(self) -> MQTTErrorCode:
        code = super().loop_stop()
        self._reset_sockets(sockpair_only=True)  # paho leaves what woke its thread to the collector of garbage
        return code


class _Wanted(Properties):
    """Where the receipt of a PUBLISH goes, and what comes back with it: packed by ourselves, as it is read."""

    _packed: bytes

    def __init__(self, receipts_topic: str, correlation: bytes) -> None:
        object.__setattr__(self, "_packed", answer_properties(receipts_topic, correlation))

    def pack(self) -> bytes:
        return self._packed


class Link:
    """One connection to the broker, subscribed to the gateway's receipts."""

    def __init__(self, host: str, port: int, receipts_topic: str, listener: Listener, login: Login = ANONYMOUS) -> None:
        """Prepare; `open` connects."""
        self._address = (host, port)
        self._receipts_topic = receipts_topic
        self._listener = listener
        self._login = login
        self._answers = threading.Condition(threading.RLock())
        self._said: list[ReasonCode] = []
        self._abandoned = False
        self._ended = threading.Event()
        self._is_open = self._is_subscribed = False
        self._max_packet = 0
        self.receive_maximum = ANY_NUMBER
        """How many messages the broker takes before it has confirmed the first."""
        self._lock = threading.Lock()
        """paho holds a lock of its own in `on_publish`: never hold this one around a call to paho."""
        self._keys: dict[int, BatchKey] = {}
        self._early: dict[int, ReasonCode] = {}
        """Confirmations that came before `publish` knew the packet identifier of what is confirmed."""
        self._client = self._make()

    def open(self) -> None:
        """Connect and subscribe.

        Raises:
            Unavailable: the broker does not answer in time, or we do not want it any more.
            LinkRefused: it does not let us.

        """
        where = "{}:{}".format(*self._address)
        try:
            self._login.apply_to(self._client)
            send_at_once(self._client)
            self._client.connect(*self._address, KEEPALIVE_S)
        except OSError as error:
            raise Unavailable(f"no broker at {where}: {error}") from None
        self._is_open = True
        self._client.loop_start()
        self._await("connection", where)
        # QoS 0: a receipt is lost with its connection only, and over the next one all is published again.
        self._client.subscribe(self._receipts_topic)
        self._await("subscription to its receipts", where)
        self._is_subscribed = True
        self._client.subscribe(DROPPED)  # where that is refused, nothing comes, and nothing else changes

    def _make(self) -> Client:
        client = _Client(self._told, self._end)
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(0)  # whoever publishes knows how many are under way

        def connected(_c: Client, _u: Any, _f: ConnectFlags, code: ReasonCode, told: Properties | None) -> None:
            self.receive_maximum = getattr(told, "ReceiveMaximum", ANY_NUMBER)
            self._max_packet = getattr(told, "MaximumPacketSize", 0)
            self._answer([code])

        def subscribed(_c: Client, _u: Any, _mid: int, codes: list[ReasonCode], _p: Properties | None) -> None:
            self._answer(codes)

        def published(_c: Client, _u: Any, mid: int, code: ReasonCode, _p: Properties | None) -> None:
            self._confirmed(mid, code)

        def disconnected(_c: Client, _u: Any, _f: DisconnectFlags, code: ReasonCode, _p: Properties | None) -> None:
            self._answer([code])

        client.on_connect, client.on_subscribe, client.on_publish = connected, subscribed, published
        client.on_disconnect = disconnected
        return client

    def _told(self, message: Message) -> None:
        if message.topic == DROPPED:
            with suppress(ValueError):
                self._listener.dropped(float(message.payload))
        else:
            self._listener.receipt(message.payload, message.correlation or b"")

    def _end(self) -> None:
        self._ended.set()
        self._answer([])
        self._listener.lost()

    def _answer(self, codes: list[ReasonCode]) -> None:
        with self._answers:
            self._said += codes
            self._answers.notify_all()

    def _await(self, what: str, where: str) -> None:
        with self._answers:
            self._answers.wait_for(lambda: self._said or self._abandoned or self._ended.is_set(), HANDSHAKE_S)
            if self._abandoned or not self._said:
                raise Unavailable(f"the broker at {where} does not answer the {what}")
            code = self._said.pop(0)
        if code.is_failure:
            raise LinkRefused(f"the broker at {where} refuses the {what}: {code}; {CHECK}")

    def abandon(self) -> None:
        """Have `open`, in another thread, give up."""
        with self._answers:
            self._abandoned = True
            self._answers.notify_all()

    def publish(self, key: BatchKey, topic: str, payload: bytes, correlation: bytes) -> None:
        """Send a batch with QoS 1, and do not wait; the listener hears of it if the broker does not take it.

        Raises:
            Unavailable: the connection is lost.

        """
        if 0 < self._max_packet < len(payload) + PACKET_BYTES:  # it would end the connection
            self._listener.refused(key, f"it takes no more than {self._max_packet} bytes")
            return
        info = self._client.publish(topic, payload, qos=1, properties=_Wanted(self._receipts_topic, correlation))
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise Unavailable("the connection to the broker is lost")
        with self._lock:
            early = self._early.pop(info.mid, None)
            if early is None:
                self._keys[info.mid] = key
        if early is not None:
            self._tell(key, early)

    def _confirmed(self, mid: int, code: ReasonCode) -> None:
        with self._lock:
            key = self._keys.pop(mid, None)
            if key is None:
                self._early[mid] = code
        if key is not None:
            self._tell(key, code)

    def _tell(self, key: BatchKey, code: ReasonCode) -> None:
        if code.value:  # no failure, it may be, but 0x10 says that nobody has got it
            self._listener.refused(key, str(code))

    def is_connected(self) -> bool:
        """Tell whether the connection stands, and receipts come over it."""
        return self._is_subscribed and self._client.is_connected() and not self._ended.is_set()

    def close(self) -> None:
        """End the connection, whatever the broker does."""
        if not self._is_open:
            return
        self._client.disconnect()
        sock = self._client.socket()
        if not self._ended.wait(GOODBYE_S) and isinstance(sock, socket.socket):
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of TLS nothing is left to be said, either
        self._client.loop_stop()
