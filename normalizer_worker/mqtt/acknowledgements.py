"""Sends receipts and acknowledges messages on one connection: the receipt first, in the given order."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from normalizer_worker.mqtt.publish import Message
from normalizer_worker.mqtt.receipts import Receipt
from shared.domain.errors import Unavailable
from shared.runtime.buffered_client import BufferedClient

log = logging.getLogger(__name__)

MAX_UNCONFIRMED = 10_000
MAX_UNCONFIRMED_BYTES = 32 * 1024 * 1024
SENT_TOGETHER = 500
"""How many messages' receipts and acknowledgements are sent in one piece: at most some 100 KiB."""
CONFIRMED_WITHIN_S = 60.0
LOST = "the connection to the broker is lost"


class Done(NamedTuple):
    """A message that is stored or kept as a dead letter, and the receipt for its sender, if any."""

    message: Message
    receipt: Receipt | None = None


class Acknowledgements:
    """Sends receipts within the broker's Receive Maximum, and acknowledges no message before its receipt is sent.

    paho does not keep the Receive Maximum, so it is kept here. Messages whose receipts wait are not acknowledged, so
    the broker holds back further messages and the queue is bounded. No method blocks.
    """

    def __init__(self, client: BufferedClient, max_waiting: int, refused: Callable[[int], None]) -> None:
        """Use a client whose own in-flight limit is off (`max_inflight_messages` 0).

        The broker sends at most `max_waiting` unacknowledged messages. `refused` is called with the number of receipts
        that will not arrive.
        """
        self.room = MAX_UNCONFIRMED
        self._client = client
        self._max_waiting = max_waiting
        self._refused = refused
        self._waiting: deque[tuple[int, int, Receipt | None]] = deque()
        """Packet identifier, QoS and receipt: not the payloads, which may be large."""
        self._unconfirmed: dict[int, Receipt] = {}
        self._unconfirmed_bytes = 0
        self._progress_s = time.monotonic()
        self._has_warned = False

    @property
    def unconfirmed(self) -> int:
        """How many receipts the broker has not confirmed yet."""
        return len(self._unconfirmed)

    @property
    def waiting(self) -> int:
        """How many messages wait to be acknowledged."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether no message and no receipt waits."""
        return not self._waiting and not self._unconfirmed

    def add(self, done: Sequence[Done]) -> None:
        """Queue messages for `go_on`."""
        lost = 0
        for each in done:
            # The broker holds back no QoS 0 message: those are not acknowledged.
            if each.message.qos == 0 and each.receipt and len(self._waiting) >= self._max_waiting:
                lost += 1
            else:
                self._waiting.append((each.message.mid, each.message.qos, each.receipt))
        if lost:
            self._refused(lost)
            log.warning("%d receipts of messages with QoS 0 are not sent: the broker has no room for them", lost)

    def go_on(self) -> bool:
        """Send receipts and acknowledge while there is room; return whether the queue is empty.

        Raises:
            Unavailable: the connection is lost; what is not acknowledged comes again.

        """
        while self._waiting:
            with self._client.together():
                if not self._send_some():
                    return False
        return True

    def _send_some(self) -> bool:
        """Return whether there was room for all of them."""
        for _ in range(min(len(self._waiting), SENT_TOGETHER)):
            mid, qos, receipt = self._waiting[0]
            if receipt is not None:
                if not self._has_room():
                    return False
                self._send(receipt)
            if self._client.ack(mid, qos) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise Unavailable(LOST)
            self._waiting.popleft()
        return True

    def check(self) -> None:
        """Check that the broker confirms receipts; called when there is nothing to read.

        Raises:
            Unavailable: no receipt has been confirmed for `CONFIRMED_WITHIN_S`.

        """
        if self._waiting and time.monotonic() - self._progress_s > CONFIRMED_WITHIN_S:
            raise Unavailable(f"the broker has confirmed no receipt for {CONFIRMED_WITHIN_S:.0f} s")

    def _has_room(self) -> bool:
        return len(self._unconfirmed) < self.room and self._unconfirmed_bytes < MAX_UNCONFIRMED_BYTES

    def _send(self, receipt: Receipt) -> None:
        properties = None
        if receipt.correlation is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it so
            properties.CorrelationData = receipt.correlation
        if not self._unconfirmed:
            self._progress_s = time.monotonic()
        info = self._client.publish(receipt.topic, receipt.payload, qos=1, properties=properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise Unavailable(LOST)
        self._unconfirmed[info.mid] = receipt
        self._unconfirmed_bytes += _size(receipt)

    def confirmed(self, mid: int, code: ReasonCode) -> None:
        """Handle the PUBACK of a receipt. A refusal (an access rule, say) is counted and ends nothing."""
        receipt = self._unconfirmed.pop(mid, None)
        if receipt is None:
            return  # not a receipt: the record that tells other workers who has the session
        self._unconfirmed_bytes -= _size(receipt)
        self._progress_s = time.monotonic()
        if code.is_failure:
            self._refused(1)
            if not self._has_warned:  # one rule may refuse thousands in a second
                log.warning("the broker refuses a receipt on %r: %s (more are only counted)", receipt.topic, code)
            self._has_warned = True


def _size(receipt: Receipt) -> int:
    return len(receipt.topic) + len(receipt.payload) + len(receipt.correlation or b"")
