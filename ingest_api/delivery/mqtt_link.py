"""The gateway's MQTT connection: one object per connection, thrown away when the connection is lost."""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties, VariableByteIntegers
from paho.mqtt.reasoncodes import ReasonCode

from shared.contract.status import BatchKey
from shared.contract.topics import DROPPED
from shared.domain.errors import Unavailable
from shared.runtime.mqtt_client import ANONYMOUS, CHECK, Login, send_at_once

log = logging.getLogger(__name__)

KEEPALIVE_S = 15
CONNECT_S = 3.0
HANDSHAKE_S = 10.0
DISCONNECT_S = 1.0
NO_MAXIMUM = 65_535
PACKET_BYTES = 256
"""The size of a PUBLISH beyond its payload, at most."""


class LinkRefused(Unavailable):
    """The broker refuses the gateway; somebody has to change a setting of one of them."""


class Listener(Protocol):
    """Handles what the broker sends; called by the connection's own thread, and must not block it."""

    def refused(self, key: BatchKey, why: str) -> None:
        """Handle that the broker refused a batch, or had no subscriber for it."""

    def receipt(self, payload: bytes, correlation: bytes) -> None:
        """Handle a receipt."""

    def dropped(self, count: float) -> None:
        """Handle the number of messages that the broker has dropped."""

    def lost(self) -> None:
        """Handle the end of the connection."""


class _Client(Client):
    """paho's client, but its thread logs why it ends, and always calls `on_end`."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False)
        self._on_end = on_end

    def loop_forever(self, timeout: float = 1.0, retry_first_connection: bool = False) -> MQTTErrorCode:  # noqa: FBT001, FBT002  # paho's
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception:  # in paho's thread it would end the connection without a word
            log.exception("the connection to the broker has failed")
            return MQTTErrorCode.MQTT_ERR_UNKNOWN
        finally:
            self._on_end()

    def loop_stop(self) -> MQTTErrorCode:
        code = super().loop_stop()
        self._reset_sockets(sockpair_only=True)  # paho leaves the sockets that wake its thread to garbage collection
        return code


class AnswerProperties(Properties):
    """Response Topic and Correlation Data of a PUBLISH, packed here: paho takes twenty times as long."""

    _packed: bytes

    def __init__(self, response_topic: str, correlation: bytes) -> None:
        """Pack them (section 2.2.2 of the MQTT 5 specification)."""
        topic = response_topic.encode()
        strings = (0x08, topic), (0x09, correlation)
        packed = b"".join(bytes([name]) + len(value).to_bytes(2) + value for name, value in strings)
        length = bytes(VariableByteIntegers.encode(len(packed)))  # type: ignore[no-untyped-call]  # paho leaves it so
        object.__setattr__(self, "_packed", length + packed)

    def pack(self) -> bytes:
        """Return them as they are sent."""
        return self._packed


class Link:
    """One connection to the broker, subscribed to the gateway's receipts."""

    def __init__(self, host: str, port: int, receipts_topic: str, listener: Listener, login: Login = ANONYMOUS) -> None:
        """Prepare; `open` connects."""
        self._address = (host, port)
        self._receipts_topic = receipts_topic
        self._listener = listener
        self._login = login
        self._reason_codes = SimpleQueue[ReasonCode | None]()
        """The broker's answers during `open`; None ends it."""
        self._ended = threading.Event()
        self._is_open = self._is_subscribed = False
        self._max_packet = 0
        self.receive_maximum = NO_MAXIMUM
        """How many messages the broker accepts before it has confirmed the first."""
        self._lock = threading.Lock()
        """Never held around a call to paho, which holds a lock of its own when it calls `on_publish`."""
        self._keys: dict[int, BatchKey] = {}
        """The batches that the broker has not confirmed, by packet identifier."""
        self._early: dict[int, ReasonCode] = {}
        """Confirmations that came before `publish` knew the packet identifier."""
        self._client = self._make_client()

    def _make_client(self) -> Client:
        client = _Client(self._end)
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(0)  # the publisher limits them

        client.on_connect = self._connected
        client.on_subscribe = lambda _c, _u, _mid, codes, _p: self._reason_codes.put(codes[0])
        client.on_publish = lambda _c, _u, mid, code, _p: self._confirmed(mid, code)
        client.on_message = lambda _c, _u, message: self._received(message)
        client.on_disconnect = lambda _c, _u, _f, code, _p: self._reason_codes.put(code)
        return client

    def _connected(self, _c: Client, _u: Any, _f: ConnectFlags, code: ReasonCode, granted: Properties | None) -> None:
        self.receive_maximum = getattr(granted, "ReceiveMaximum", NO_MAXIMUM)
        self._max_packet = getattr(granted, "MaximumPacketSize", 0)
        self._reason_codes.put(code)

    def open(self) -> None:
        """Connect and subscribe.

        Raises:
            Unavailable: the broker does not answer in time, or `abandon` was called.
            LinkRefused: the broker refuses the connection or the subscription.

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
        self._await_answer("connection", where)
        # QoS 0: a receipt is lost only with its connection, and over the next one everything is published again.
        self._client.subscribe(self._receipts_topic)
        self._await_answer("subscription to its receipts", where)
        self._is_subscribed = True
        self._client.subscribe(DROPPED)  # if the broker refuses this, only the count is missing

    def _await_answer(self, what: str, where: str) -> None:
        try:
            code = self._reason_codes.get(timeout=HANDSHAKE_S)
        except Empty:
            code = None
        if code is None:
            raise Unavailable(f"the broker at {where} does not answer the {what}")
        if code.is_failure:
            raise LinkRefused(f"the broker at {where} refuses the {what}: {code}; {CHECK}")

    def abandon(self) -> None:
        """Make `open`, in another thread, give up."""
        self._reason_codes.put(None)

    def _end(self) -> None:
        self._ended.set()
        self._reason_codes.put(None)
        self._listener.lost()

    def _received(self, message: MQTTMessage) -> None:
        if message.topic == DROPPED:
            with suppress(ValueError):
                self._listener.dropped(float(message.payload))
        else:
            self._listener.receipt(bytes(message.payload), _digest(getattr(message.properties, "CorrelationData", b"")))

    def publish(self, key: BatchKey, topic: str, payload: bytes, correlation: bytes) -> None:
        """Send a batch with QoS 1, and do not wait; the listener is told if the broker refuses it.

        Raises:
            Unavailable: the connection is lost.

        """
        if 0 < self._max_packet < len(payload) + PACKET_BYTES:  # the broker would end the connection
            self._listener.refused(key, f"it takes no more than {self._max_packet} bytes")
            return
        # As text: on its way through AMQP, bytes that are no text would be another kind of property.
        properties = AnswerProperties(self._receipts_topic, correlation.hex().encode())
        info = self._client.publish(topic, payload, qos=1, properties=properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise Unavailable("the connection to the broker is lost")
        with self._lock:
            early = self._early.pop(info.mid, None)
            if early is None:
                self._keys[info.mid] = key
        if early is not None:
            self._report(key, early)

    def _confirmed(self, mid: int, code: ReasonCode) -> None:
        with self._lock:
            key = self._keys.pop(mid, None)
            if key is None:
                self._early[mid] = code
        if key is not None:
            self._report(key, code)

    def _report(self, key: BatchKey, code: ReasonCode) -> None:
        if code.value:  # also 0x10, which is no failure: there is no subscriber
            self._listener.refused(key, str(code))

    def is_connected(self) -> bool:
        """Return whether the connection is open and receipts come over it."""
        return self._is_subscribed and self._client.is_connected() and not self._ended.is_set()

    def close(self) -> None:
        """End the connection, whatever the broker does."""
        if not self._is_open:
            return
        self._client.disconnect()
        sock = self._client.socket()
        if not self._ended.wait(DISCONNECT_S) and isinstance(sock, socket.socket):
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # without the closing handshake of TLS
        self._client.loop_stop()


def _digest(correlation: bytes) -> bytes:
    """Return what `publish` was given; nothing where the Correlation Data is not ours."""
    try:
        return bytes.fromhex(correlation.decode("ascii"))
    except ValueError:
        return b""
