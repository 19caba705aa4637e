"""The worker's end of MQTT: one object per connection, read and acknowledged from one thread."""

import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any

from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions
from prometheus_client import CollectorRegistry

from normalizer_worker.mqtt.acknowledgements import LOST, MAX_UNCONFIRMED, Acknowledgements, Done
from normalizer_worker.mqtt.broker_metrics import BrokerMetrics
from normalizer_worker.mqtt.canary import Canary
from normalizer_worker.mqtt.keepalive import Keepalive
from normalizer_worker.mqtt.publish import Message, read_publish
from normalizer_worker.mqtt.standby import Turn
from shared.contract.topics import CANARY, DROPPED, MISTAKEN
from shared.domain.errors import InvalidSettings, Unavailable
from shared.runtime.buffered_client import BufferedClient
from shared.runtime.mqtt_client import ANONYMOUS, CHECK, Login

FOREVER_S = 0xFFFFFFFF
KEEPALIVE_S = 60
HANDSHAKE_S = 10
HANDSHAKE_BYTES = 16 * 1024 * 1024
"""Limit of messages that are read before the broker's answer: else the whole queue could be in memory."""
_NEVER_WILL = {"Bad user name or password", "Not authorized", "Client identifier not valid"}


class _Client(BufferedClient):
    """paho's client with its own PUBLISH parser: a malformed property must not end the connection.

    paho ends the connection over a property that it finds malformed though the broker passed it on; the message would
    come again, and nothing behind it ever.
    """

    def __init__(self, client_id: str, came: Callable[[Message], None]) -> None:
        super().__init__(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True)
        self._came = came

    def _handle_publish(self) -> MQTTErrorCode:
        self._came(read_publish(self._in_packet["command"], bytes(self._in_packet["packet"])))
        return MQTTErrorCode.MQTT_ERR_AGAIN  # ends `loop_read`, which reads on while receipts are unconfirmed


class Connection:
    """One connection to the broker, on a session that outlives it.

    Whoever loses a connection opens another one: what was not acknowledged on the first comes again on the second, and
    nothing of the first can acknowledge anything there. (Packet identifiers are used again: a late acknowledgement
    would delete a different, new message.)
    """

    def __init__(  # noqa: PLR0913  # what a connection is made of
        self,
        host: str,
        port: int,
        client_id: str,
        topic: str,
        receive_maximum: int,
        *,
        login: Login = ANONYMOUS,
        told: BrokerMetrics | None = None,
        turn: Turn | None = None,
    ) -> None:
        """Connect, take up the session, and subscribe to a topic filter with QoS 1.

        A second connection with the same `client_id` ends the first. The broker sends up to `receive_maximum` messages
        before the first is acknowledged. `told` hears of what the broker loses, drops and refuses; `turn` tells other
        workers who has the session.

        Raises:
            Unavailable: the broker does not answer, or not in time.
            InvalidSettings: the broker refuses this client for good.

        """
        self._inbox: deque[Message] = deque()
        self._awaits_answer = True
        """Whether the connection is being opened."""
        self._handshake_bytes = 0
        """Of the messages that came meanwhile."""
        self._awaited = ""
        """What the broker has still to answer, if too many messages came first; else empty."""
        self._answers: list[ReasonCode] = []
        self._other_packets = 0
        """How many packets came besides the worker's messages: confirmations, and messages to this connection."""
        self._told = told or BrokerMetrics(CollectorRegistry())
        self._turn = turn or Turn(host, port, login)
        self._client = self._make(client_id)
        self._acknowledgements = Acknowledgements(self._client, receive_maximum, self._told.refused)
        self._canary = Canary(self._client, self._told)
        self._keepalive = Keepalive(self._ping, KEEPALIVE_S / 4)
        try:
            self._open(topic, receive_maximum)
        except BaseException:
            self.close()
            raise
        self._awaits_answer = False
        self._keepalive.start()

    def _open(self, topic: str, receive_maximum: int) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it so
        properties.SessionExpiryInterval = FOREVER_S
        properties.ReceiveMaximum = receive_maximum
        self._turn.set_will(self._client)
        self._turn.connect(self._client, keepalive=KEEPALIVE_S, clean_start=False, properties=properties)
        self._await_answer("connection")
        # Retained messages come once, with the subscription, not again with every connection; what the broker has
        # dropped comes with each. What is published on a mistaken topic becomes a dead letter. If any but the first is
        # refused, nothing else changes.
        readings, dropped = SubscribeOptions(qos=1, retainHandling=1), SubscribeOptions(qos=0)
        mistaken = [(each, readings) for each in MISTAKEN]
        self._client.subscribe([(topic, readings), (DROPPED, dropped), *mistaken])
        self._await_answer("subscription")
        self._turn.tell(self._client)

    def _make(self, client_id: str) -> _Client:
        client = _Client(client_id, self._came)
        client.max_inflight_messages_set(0)  # it is for `Acknowledgements` to say

        def connected(_c: Client, _u: Any, flags: ConnectFlags, code: ReasonCode, properties: Any) -> None:
            self._answers.append(code)
            if not code.is_failure:
                self._told.session(is_known=flags.session_present)
            self._acknowledgements.room = min(getattr(properties, "ReceiveMaximum", MAX_UNCONFIRMED), MAX_UNCONFIRMED)

        def published(_c: Client, _u: Any, mid: int, code: ReasonCode, _p: Properties | None) -> None:
            self._other_packets += 1
            if not self._canary.confirmed(mid, code):
                self._acknowledgements.confirmed(mid, code)

        client.on_connect, client.on_publish = connected, published
        client.on_subscribe = lambda _client, _data, _mid, codes, _properties: self._answers.append(codes[0])
        client.on_disconnect = lambda _client, _data, _flags, code, _properties: self._answers.append(code)
        return client

    def _came(self, message: Message) -> None:
        if message.topic == DROPPED:
            self._other_packets += 1
            with suppress(ValueError):
                self._told.dropped(float(message.payload))
            return
        self._canary.heard()
        if message.topic == CANARY:
            self._other_packets += 1
            self._client.ack(message.mid, message.qos)
        else:
            self._inbox.append(message)
            if self._awaits_answer:
                self._handshake_bytes += message.size_bytes

    def _await_answer(self, to: str) -> None:
        deadline = time.monotonic() + HANDSHAKE_S
        while not self._answers:
            if time.monotonic() > deadline:
                raise Unavailable(f"the broker did not answer the {to} in {HANDSHAKE_S} s")
            if self._handshake_bytes > HANDSHAKE_BYTES:
                self._awaited = to
                return
            self._await(0.1)
            try:
                self._read()
            except Unavailable:
                if not self._answers:  # paho calls a refusal a protocol error; the broker's reason stands here
                    raise
        self._judge(to)

    def _judge(self, to: str) -> None:
        """Look at the broker's answer."""
        code = self._answers.pop(0)
        if code.is_failure:
            if code.getName() in _NEVER_WILL:
                raise InvalidSettings(f"the broker refuses the {to}: {code}; {CHECK}")
            raise Unavailable(f"the broker refuses the {to}: {code}")

    def receive(self, wait_s: float) -> Message | None:
        """Return the next message, or None after `wait_s`. Wait only if all earlier messages are finished.

        Raises:
            Unavailable: the connection is lost, or the subscription.

        """
        if self._acknowledgements.waiting:
            self._acknowledgements.go_on()
        if not self._inbox:
            self._read_on()
            if not self._inbox:
                self._await_message(wait_s)
            if not self._inbox and wait_s:
                self._acknowledgements.check()
                if self._acknowledgements.is_idle:
                    self._canary.go_on()
        return self._inbox.popleft() if self._inbox else None

    def _await_message(self, wait_s: float) -> None:
        """Wait until a whole message has come, or while receipts wait until there may be room for them."""
        deadline_s = time.monotonic() + wait_s
        left_s = wait_s
        while True:
            self._await(left_s)  # also for no time at all: who only polls has to send pings, too
            self._read_on()
            left_s = deadline_s - time.monotonic()
            if self._inbox or left_s <= 0 or self._acknowledgements.waiting:
                return

    def _read_on(self) -> None:
        """Read until a message has come or nothing more is there: a message may follow a confirmation or a canary."""
        while True:
            before = self._other_packets
            self._read()
            if self._inbox or before == self._other_packets:
                return

    def _read(self) -> None:
        """Take from the socket what has come: one message, or as many packets as there are receipts to be confirmed."""
        code = self._client.loop_read()
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._client.socket() is None:
            why = self._answers[-1] if self._answers else code.name
            raise Unavailable(f"{LOST}: {why}")
        if self._awaited and self._answers:
            to, self._awaited = self._awaited, ""
            self._judge(to)

    def _await(self, wait_s: float) -> None:
        """Wait for something to read; meanwhile send what is due: what is left of acknowledgements, a ping."""
        sock = self._client.socket()
        if sock is None:
            return  # what reads next will say that the connection is lost
        if self._client.read_ahead_bytes:
            return  # it has been read ahead, or is decrypted: select does not see it
        if not self._awaits_answer:
            self._turn.renew(self._client)
        select.select([sock], [sock] if self._client.want_write() else [], [], wait_s)
        if self._client.want_write():
            self._client.loop_write()
        self._client.loop_misc()

    def finish(self, done: Sequence[Done]) -> None:
        """Send receipts, and tell the broker that their messages are done for good.

        At once if the broker accepts more receipts now, else as soon as it does. A message is not acknowledged before
        its receipt has been sent: whatever happens between, the message comes again, and gives its receipt again.

        Raises:
            Unavailable: the connection is lost; the messages will come again.

        """
        self._turn.renew(self._client)
        self._acknowledgements.add(done)
        while not self._acknowledgements.go_on():
            unconfirmed = self._acknowledgements.unconfirmed
            self._read()
            if self._acknowledgements.unconfirmed == unconfirmed:
                return

    def kept_alive(self) -> AbstractContextManager[None]:
        """Span what takes long and leaves the connection alone: the broker is sent pings meanwhile."""
        return self._keepalive

    def _ping(self) -> None:
        """Send a ping: paho sends its own only from its read loop, which does not run meanwhile."""
        self._turn.renew(self._client)
        if self._client.want_write():
            self._client.loop_write()
        else:
            self._client._send_pingreq()  # noqa: SLF001  # paho has no other way to send one

    def close(self) -> None:
        """End the connection; the session stays."""
        self._keepalive.stop()
        self._turn.leave(self._client)
