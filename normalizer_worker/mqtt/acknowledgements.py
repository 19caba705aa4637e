"""Finishing messages on one connection: first the receipt, then the acknowledgement, in the order they are given."""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from normalizer_worker.mqtt.receipts import Receipt
from shared.contract.mqtt_publish import Message
from shared.domain.errors import Unavailable

log = logging.getLogger(__name__)

MAX_UNCONFIRMED = 10_000
MAX_UNCONFIRMED_BYTES = 32 * 1024 * 1024
CONFIRMED_WITHIN_S = 60.0
LOST = "the connection to the broker is lost"


class Done(NamedTuple):
    """A message that is stored or set aside for good, and the receipt that its sender gets, if any."""

    message: Message
    receipt: Receipt | None = None


class Finishing:
    """Sends receipts as far as the broker has room for them, and acknowledges no message before its receipt is sent.

    paho sends whatever it is told to: the broker's Receive Maximum is kept here. What waits for room is not
    acknowledged, so that the broker holds back more, and nothing grows without a bound. Nothing here waits.
    """

    def __init__(self, client: Client, max_waiting: int, refused: Callable[[int], None]) -> None:
        """Work on a client, which must leave its limit of messages in flight to us (`max_inflight_messages` 0).

        Args:
            client: the connection's.
            max_waiting: how many messages the broker sends before the first is acknowledged.
            refused: told how many receipts will not arrive.

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
        self._told = False

    @property
    def unconfirmed(self) -> int:
        """How many receipts the broker has not confirmed yet."""
        return len(self._unconfirmed)

    @property
    def waiting(self) -> int:
        """How many messages wait to be finished."""
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be finished or confirmed."""
        return not self._waiting and not self._unconfirmed

    def add(self, done: Sequence[Done]) -> None:
        """Have messages finished, now or as soon as there is room, by `go_on`."""
        lost = 0
        for each in done:
            # The broker holds back no message of QoS 0, which nobody acknowledges.
            if each.message.qos == 0 and each.receipt and len(self._waiting) >= self._max_waiting:
                lost += 1
            else:
                self._waiting.append((each.message.mid, each.message.qos, each.receipt))
        if lost:
            self._refused(lost)
            log.warning("%d receipts of messages with QoS 0 are not sent: the broker has no room for them", lost)

    def go_on(self) -> bool:
        """Finish messages as far as there is room; tell whether all of them are finished.

        Raises:
            Unavailable: the connection is lost; what is not acknowledged comes again.

        """
        while self._waiting:
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
        """Look whether the broker makes room at all; asked when there is nothing to read from it.

        Raises:
            Unavailable: it has confirmed no receipt for long.

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
        """Note what the broker says to a receipt; to refuse one is its right (an access rule), and ends nothing."""
        receipt = self._unconfirmed.pop(mid, None)
        if receipt is None:
            return  # no receipt: what tells other workers who has the session
        self._unconfirmed_bytes -= _size(receipt)
        self._progress_s = time.monotonic()
        if code.is_failure:
            self._refused(1)
            if not self._told:  # one rule may refuse thousands in a second
                log.warning("the broker refuses a receipt on %r: %s (more are only counted)", receipt.topic, code)
            self._told = True


def _size(receipt: Receipt) -> int:
    return len(receipt.topic) + len(receipt.payload) + len(receipt.correlation or b"")
