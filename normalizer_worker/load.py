"""A load: the messages that are stored in one transaction, and the outcome of each."""

import re
from collections import Counter as CountOf
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.ledger.first_seen import Seen, first_seen_key, name_key
from normalizer_worker.mqtt import receipts
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.recorder import STRETCH_COST, costs, near_us
from normalizer_worker.rule.superseded import superseded
from shared.contract.acceptance import CLOCKS_APART_US, Rules
from shared.contract.batch import Batch, columns
from shared.contract.content import digest
from shared.contract.decoding import name_of
from shared.contract.limits import MAX_CORRELATION_BYTES, MAX_RESPONSE_TOPIC_BYTES
from shared.contract.messages import decode
from shared.contract.status import already_used
from shared.contract.topics import meant_topic, ship_of
from shared.domain.errors import InvalidInput, Problem, Refused
from shared.domain.readings import Readings
from shared.domain.slots import SLOT_US
from shared.domain.timestamps import US_PER_S, moment_us

FREE_COST = 10
"""Cost up to which a reading is ordinary: at that rate, a sender's bandwidth is its limit (see `recorder.costs`)."""
MAX_EXCESS = 20_000
"""Cost beyond that which the batches of one ship may have in a load; the others go to the backlog."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one load takes at most; it takes less as soon as nothing more has arrived."""

    messages: int = 5_000
    readings: int = 50_000
    size_bytes: int = 16 * 1024 * 1024
    excess: int = 5 * MAX_EXCESS
    seconds: float = 0.25


_ACCEPTED = re.compile(rb'\{"accepted_at":"([^"]{1,40})",')
"""How a message of the gateway begins; what follows is equal in a repeat."""


class Item:
    """One message."""

    batch: Batch | None = None
    """What it holds, with its `sent_at_us`; None where it is not valid."""
    batch_id: UUID | None = None
    """The batch's identifier, if it has one; also of a batch that is not valid."""
    letter: DeadLetter | None = None
    """Set where the message can never be stored."""
    seen: Seen | None = None
    """What its first-seen time is looked up by; set where it may have come before and its gateway cannot know that."""
    lag_s: float | None = None
    """From `sent_at` to its arrival, where it has one."""
    goes_to_backlog = False
    """Whether it is recorded in parts."""
    superseded = 0
    """How many of the readings of `batch` do not count."""

    def __init__(self, message: Message, batch: Batch | None = None) -> None:
        """Begin with a message as it came from the broker, and its batch, if that is known."""
        self.message = message
        self.batch = batch

    @property
    def valid(self) -> Batch:
        """Return the batch of an item that has one."""
        if self.batch is None:
            raise AssertionError("a message without a batch is not recorded")
        return self.batch

    def reject(self, error: InvalidInput | Refused, now_us: int) -> None:
        """Make it a dead letter."""
        self.letter = DeadLetter.of(self.message.topic, self.message.payload, error, now_us)

    def reject_name(self, now_us: int) -> None:
        """Make it a dead letter because another batch has its `batch_id`; nothing of it is recorded."""
        if self.batch_id is None:
            raise AssertionError("a batch without a `batch_id` has that of no other")
        self.reject(already_used(self.batch_id), now_us)
        self.batch, self.lag_s, self.goes_to_backlog = None, None, False

    def done(self) -> Done:
        """Return the message with its receipt, if it gets one."""
        message = self.message
        if self.letter is not None:
            return Done(message, receipts.rejected(message, self.batch_id, self.letter.problems))
        if self.batch_id is None:
            return Done(message)
        batch = self.valid
        return Done(message, receipts.stored(message, batch.ship, self.batch_id, batch.received, self.superseded))


def read_item(message: Message, rules: Rules, now_us: int, *, several_gateways: bool = False) -> Item:
    """Decode a message; one that is not valid becomes a dead letter.

    A batch without a `sent_at` gets the time at which the gateway accepted it, else that of its arrival; a repeat gets
    that of the first. A single gateway knows by itself which batches are repeats, and whose `batch_id` is used already.
    A retained message may be of any age: without a `sent_at` it gets time 0, so that it fills holes but corrects
    nothing.
    """
    item = Item(message)
    try:
        batch = decode(message.payload, rules, now_us, topic_ship=_ship(message.topic))
        if batch.batch_id is not None:
            item.batch_id = batch.batch_id
        if message.correlation or message.response_topic:
            _check_reply_properties(message)
    except InvalidInput as error:
        item.batch_id = item.batch_id or name_of(error, message.payload)
        item.reject(error, now_us)
        return item
    accepted = _ACCEPTED.match(message.payload) if several_gateways or batch.sent_at_us is None else None
    accepted_us = None if accepted is None else _accepted_us(accepted[1], now_us)
    if accepted_us is not None and several_gateways:
        item.seen = _seen_at_gateway(batch, accepted_us)
    if batch.sent_at_us is not None:
        item.lag_s = (now_us - batch.sent_at_us) / US_PER_S
        item.batch = batch
        return item
    if accepted_us is not None:
        item.lag_s = (now_us - accepted_us) / US_PER_S
        item.batch = Batch(*batch[:-1], accepted_us)  # `_replace` takes twice as long
        return item
    sent_at_us = 0 if message.retained else now_us
    item.batch = Batch(*batch[:-1], sent_at_us)
    if batch.batch_id is not None:
        item.seen = Seen(first_seen_key(batch.ship, batch.batch_id, message.payload), sent_at_us)
    return item


def _seen_at_gateway(batch: Batch, accepted_us: int) -> Seen | None:
    """Return how a batch of one of several gateways is looked up; None where its client has not named it.

    The gateway has made the `batch_id` of one that it has dated, too. A ship may write `accepted_at` as a gateway does;
    then only batches of its own are compared with it.
    """
    if batch.batch_id is None or batch.sent_at_us == accepted_us:
        return None
    sent_at_us = accepted_us if batch.sent_at_us is None else batch.sent_at_us
    return Seen(name_key(batch.ship, batch.batch_id), sent_at_us, digest(batch))


def _accepted_us(text: bytes, now_us: int) -> int:
    """Return when the gateway accepted a batch; a ship may have written that, too, and gains nothing by it."""
    try:
        return min(moment_us(text.decode()), now_us + CLOCKS_APART_US)
    except ValueError:
        return now_us


def count_superseded(items: Sequence[Item], lost: Readings) -> None:
    """Count for each batch the readings that do not count; `lost` are those that `Recorder.record` returns."""
    if not len(lost) and len(items) == 1:
        return
    found = superseded(columns([each.valid for each in items]), lost)
    first = np.cumsum([0, *(len(each.valid.moment_us) for each in items[:-1])])
    for each, count in zip(items, np.add.reduceat(found.astype(np.int64), first).tolist(), strict=True):
        each.superseded = count


def _ship(topic: str) -> int:
    ship = ship_of(topic)
    if ship is None:
        meant = meant_topic(topic)
        why = f"published to {topic}; the topic is {meant}" if meant else "the topic names no ship"
        raise InvalidInput(why, (Problem("topic", why.removeprefix("the topic ")),))
    return ship


def _check_reply_properties(message: Message) -> None:
    """Refuse properties that are too long to be sent back with the receipt: the broker does not limit them."""
    correlation, topic = message.correlation, message.response_topic
    for name, size, most in (
        ("Correlation Data", len(correlation) if correlation else 0, MAX_CORRELATION_BYTES),
        ("Response Topic", len(topic.encode()) if topic else 0, MAX_RESPONSE_TOPIC_BYTES),
    ):
        if size > most:
            raise InvalidInput(f"the {name} is too long", (Problem(name, f"has {size} bytes, more than {most}"),))


class Load:
    """Items in order of arrival, also those that go to the backlog, as many as fit into one transaction."""

    def __init__(self, limits: Limits, max_gap_us: int) -> None:
        """Begin empty; `max_gap_us` as in `normalize`."""
        self.items: list[Item] = []
        self.shed = CountOf[int]()
        """How many messages were shed, by ship."""
        self._limits = limits
        self._max_gap_us = max_gap_us
        self._near_us = near_us(max_gap_us)
        self._readings = 0
        self._size_bytes = 0
        self._excess = CountOf[int]()
        """By ship: cost beyond `FREE_COST` a reading of the batches that do not go to the backlog."""
        self._total_excess = 0
        self._last: dict[int, tuple[int, int]] = {}
        """The first and the last timestamp of each ship's last batch."""

    def is_full(self) -> bool:
        """Return whether it has reached a limit."""
        limits = self._limits
        return (
            len(self.items) >= limits.messages
            or self._readings >= limits.readings
            or self._size_bytes >= limits.size_bytes
            or self._total_excess >= limits.excess
        )

    def add(self, item: Item, *, is_in_backlog: bool) -> None:
        """Add an item.

        A deletion and a table of covariates go to the backlog. An expensive batch does if others of its ship are there,
        or if the batches of its ship in this load would cost too much together.
        """
        self.items.append(item)
        self._size_bytes += item.message.size_bytes
        batch = item.batch
        if batch is None:
            return
        if not batch.has_readings:  # how much a deletion costs is not known
            item.goes_to_backlog = True
            return
        excess = self._excess_of(batch)
        if excess and (is_in_backlog or self._excess[batch.ship] + excess > MAX_EXCESS):
            item.goes_to_backlog = True
            return
        self._readings += len(batch.moment_us)
        if excess:
            self._excess[batch.ship] += excess
            self._total_excess += excess

    def _excess_of(self, batch: Batch) -> int:
        """Return what a batch costs beyond `FREE_COST` a reading, given the previous batch of its ship."""
        moment_us, near, excess = batch.moment_us, self._near_us, 0
        first_us = last_us = int(moment_us[0])
        if len(moment_us) > 1:
            last_us = int(moment_us[-1])
            if last_us - first_us > near and (moment_us[1:] - moment_us[:-1]).max() > near:
                cost = costs(np.full(len(moment_us), batch.ship), moment_us, self._max_gap_us).sum()
                excess = max(int(cost) - FREE_COST * len(moment_us), 0)
        before = self._last.get(batch.ship)
        self._last[batch.ship] = first_us, last_us
        if before is not None:
            apart_us = max(first_us - before[1], before[0] - last_us)
            if apart_us > near:
                excess += STRETCH_COST + min(apart_us, self._max_gap_us) // SLOT_US
        return excess
