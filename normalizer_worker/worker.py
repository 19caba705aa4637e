"""The worker's loop: take what has arrived, store it, and only then say so and acknowledge it."""

import logging
import time
from collections import Counter as CountOf
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import numpy as np

from normalizer_worker.backlog import Backlog
from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.ledger.first_seen import first_seen_key
from normalizer_worker.ledger.letter_queue import DeadLetterStore, LetterQueue
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt import receipts
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.recorder import STRETCH_COST, costs, near_us
from shared.contract.acceptance import Rules
from shared.contract.batch import Batch, columns, decode, name_of
from shared.contract.limits import MAX_CORRELATION_BYTES, MAX_RESPONSE_TOPIC_BYTES
from shared.contract.topics import ship_of
from shared.domain.clock import StrictClock
from shared.domain.errors import InvalidInput, Problem, Refused, Unavailable
from shared.domain.readings import Readings
from shared.domain.slots import SLOT_US
from shared.domain.timestamps import US_PER_S

log = logging.getLogger(__name__)

IDLE_S = 0.25
SHEDDING_S = 1.0
"""How long to go on while messages are shed: others' messages are behind them, and should not wait for the store."""
NEXT_S = 0.1
"""How long to wait then for the next message, which may be large."""
FIRST_RETRY_S = 0.25
LAST_RETRY_S = 15.0
FREE_COST = 10
"""Cost of a reading up to which it is ordinary: at that rate, a sender's bandwidth is its limit (see `costs`)."""
MAX_EXCESS = 20_000
"""Cost beyond that which the batches of one ship may have in a load; the others go to the backlog."""


class Source(Protocol):
    """Where messages come from, as `subscriber.Connection` gives them."""

    def receive(self, wait_s: float) -> Message | None:
        """Give the next message, None where none comes in time."""
        ...

    def finish(self, done: Sequence[Done]) -> None:
        """Send receipts, and have the messages not delivered again."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class Sink(Protocol):
    """Where readings go, as `recorder.Recorder` takes them."""

    def record(self, readings: Readings) -> None:
        """Make readings and what follows from them durable."""
        ...

    def tidy(self) -> bool:
        """Do a little of what can wait; tell whether more of it is left."""
        ...


class FirstSeenStore(Protocol):
    """Records first-seen times: `FirstSeenTimes`, or a double of the tests."""

    def first(self, seen: Sequence[tuple[bytes, int]]) -> list[int]:
        """Return first-seen times, of keys and the times at which they were received now."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one transaction takes at most; it takes less as soon as nothing more has arrived."""

    messages: int = 5_000
    readings: int = 50_000
    size_bytes: int = 16 * 1024 * 1024
    excess: int = 5 * MAX_EXCESS
    seconds: float = 0.25


@dataclass(slots=True)
class _Load:
    """What one transaction will store.

    Attributes:
        messages: all of them, in the order of arrival.
        batches: the valid ones, each with the place of its message.
        undated: the keys of those that may be repeats, by their place in `batches`.
        dead: what can never be stored, by the place of its message.
        names: the `batch_id` of each of these, if it has one.
        lags_s: from `sent_at` to now.
        long: the places of those messages whose batches go to the backlog.
        shed: how many messages were shed, by ship.
        last: the first and the last moment of each ship's last batch.
        excess: by ship, what its batches cost beyond `FREE_COST` a reading; those in `long` do not count.
        excess_in_all: that of all ships.
        count: how many readings there are.
        size_bytes: of all messages; also of what holds few readings, or none.

    """

    messages: list[Message] = field(default_factory=list)
    batches: list[tuple[int, Batch]] = field(default_factory=list)
    undated: dict[int, bytes] = field(default_factory=dict)
    dead: dict[int, DeadLetter] = field(default_factory=dict)
    names: dict[int, UUID | None] = field(default_factory=dict)
    lags_s: list[float] = field(default_factory=list)
    long: set[int] = field(default_factory=set)
    shed: CountOf[int] = field(default_factory=CountOf)
    last: dict[int, tuple[int, int]] = field(default_factory=dict)
    excess: CountOf[int] = field(default_factory=CountOf)
    excess_in_all: int = 0
    count: int = 0
    size_bytes: int = 0

    def reject(self, error: InvalidInput, batch_id: UUID | None, now_us: int) -> None:
        """Set the last message aside as a dead letter."""
        place, message = len(self.messages) - 1, self.messages[-1]
        self.dead[place] = DeadLetter.of(message.topic, message.payload, error, now_us)
        self.names[place] = batch_id

    def is_full(self, limits: Limits) -> bool:
        """Tell whether it is as much as one transaction may take."""
        return (
            len(self.messages) >= limits.messages
            or self.count >= limits.readings
            or self.size_bytes >= limits.size_bytes
            or self.excess_in_all >= limits.excess
        )


class Worker:
    """Moves messages from a source into a sink; nothing is acknowledged before it is durable."""

    def __init__(  # noqa: PLR0913  # the parts are put together in one place
        self,
        connect: Callable[[], Source],
        sink: Sink,
        dead_letters: DeadLetterStore,
        first_seen: FirstSeenStore,
        metrics: WorkerMetrics,
        *,
        rules: Rules | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Put the parts together; `connect` opens a new connection, and raises `Unavailable` while it cannot."""
        self._connect = connect
        self._sink = sink
        self._letters = LetterQueue(dead_letters, metrics)
        self._first_seen = first_seen
        self._metrics = metrics
        self._rules = rules or Rules()
        self._near_us = near_us(self._rules.max_gap_us)
        self._backlog = Backlog(self._rules.max_gap_us)
        self._limits = limits or Limits()
        self._clock = StrictClock()
        self._untidy = False

    def run(self, stopping: Callable[[], bool], ready: Callable[[], None]) -> None:
        """Work until told to stop; what is in hand then is finished first.

        Whatever is away, broker or store: the connection is dropped and, after a while, another one opened. What was
        not acknowledged comes again.
        """
        retry_s = FIRST_RETRY_S
        while not stopping():
            try:
                with closing(self._connect()) as source, self._metrics.session():
                    log.info("connected to the broker")
                    ready()
                    while not stopping():
                        if self.step(source):
                            retry_s = FIRST_RETRY_S
            except Unavailable as error:
                log.warning("%s; next try in %.1f s", error, retry_s)
                _wait(retry_s, stopping)
                retry_s = min(retry_s * 2, LAST_RETRY_S)

    def step(self, source: Source) -> int:
        """Store what has arrived and a part of the backlog; send receipts and acknowledge what is stored.

        Returns:
            How much was done: messages taken, and parts.

        Raises:
            Unavailable: broker or store is away; nothing was said or acknowledged of what is not stored.

        """
        try:
            done = self._do_load(source) + self._do_part(source)
            self._finish(source, self._letters.go_on())
            self._untidy = self._sink.tidy()
        except BaseException:
            # All that is not acknowledged comes again, on another connection.
            self._backlog.clear()
            self._letters.clear()
            raise
        self._metrics.progressed()
        return done

    def _do_load(self, source: Source) -> int:
        """Store what has arrived; put aside what is to be recorded in parts."""
        load = self._gather(source)
        if load.messages:
            self._finish(source, self._store(load))
        self._metrics.shed(load.shed)
        return len(load.messages) + load.shed.total()

    def _do_part(self, source: Source) -> int:
        """Store a part of the backlog."""
        if not self._backlog:
            return 0
        part = self._backlog.next_part()
        load = _Load(messages=[each.message for each in part.waiting])
        load.batches = [(place, each.batch) for place, each in enumerate(part.waiting)]
        began_s = time.monotonic()
        with self._metrics.transaction():
            stored = self._record(load, load.batches, part.readings)
        if load.dead:
            part = part._replace(is_last=True)  # the rest of a refused batch is not recorded
        self._backlog.done(part, time.monotonic() - began_s)
        if part.is_last:
            self._finish(source, self._settle(load, stored))
        return 1

    def _finish(self, source: Source, done: Sequence[Done]) -> None:
        if done:
            source.finish(done)
            self._metrics.answered(each.receipt.status for each in done if each.receipt)

    def _store(self, load: _Load) -> list[Done]:
        """Make a load durable, but for what goes to the backlog; give the messages that need nothing more."""
        with self._metrics.transaction():
            self._date(load)
            ordinary = [each for each in load.batches if each[0] not in load.long]
            stored = self._record(load, ordinary) if ordinary else []
        done = self._settle(load, stored)
        for place, batch in load.batches:
            if place in load.long:
                shed = self._backlog.add(load.messages[place], batch)
                load.shed.update(each.ship for each in shed)
                done += [Done(each.message) for each in shed]
        return done

    def _settle(self, load: _Load, stored: Sequence[tuple[int, Batch]]) -> list[Done]:
        """Keep the dead letters and count everything; give the messages of a load that need nothing more."""
        messages = len(load.messages) - len(load.long)
        last = max((place for place, _ in stored), default=-1)
        self._metrics.stored(
            messages=messages,
            readings=sum(batch.received for _, batch in stored),
            dead=len(load.dead),
            dead_at_end=sum(place > last for place in load.dead) if stored else messages,
            lags_s=load.lags_s,
        )
        for letter in load.dead.values():
            log.warning("dead letter on %r: %s", letter.topic, letter.why(1))
        done = _done(load, stored)
        if not load.dead:
            return [*done.values()]
        places = {id(each): place for place, each in done.items()}
        # While the letters cannot be written, their messages are not among those that it gives.
        finished = self._letters.keep([(done.pop(place), letter) for place, letter in load.dead.items()])
        return sorted([*done.values(), *finished], key=lambda each: places.get(id(each), -1))

    def _date(self, load: _Load) -> None:
        """Give batches without a `sent_at` the moment at which they came first."""
        if not load.undated:
            return
        came = [(key, load.batches[at][1].sent_at_us or 0) for at, key in load.undated.items()]
        for at, first_us in zip(load.undated, self._first_seen.first(came), strict=True):
            place, batch = load.batches[at]
            load.batches[at] = (place, batch._replace(sent_at_us=first_us))

    def _record(
        self, load: _Load, batches: Sequence[tuple[int, Batch]], part: Readings | None = None
    ) -> list[tuple[int, Batch]]:
        """Record batches and give those stored; they are halved until what the store refuses stands alone.

        Of the batches it may be only a `part` that is recorded, as long as nothing of it is refused.
        """
        try:
            self._sink.record(columns([batch for _, batch in batches]) if part is None else part)
        except Refused as error:
            if len(batches) == 1:
                place, batch = batches[0]
                message = load.messages[place]
                load.dead[place] = DeadLetter.of(message.topic, message.payload, error, self._clock.now_us())
                load.names[place] = batch.batch_id
                return []
            half = len(batches) // 2
            return self._record(load, batches[:half]) + self._record(load, batches[half:])
        return [*batches]

    def _gather(self, source: Source) -> _Load:
        """Take what has arrived. Of a ship whose share of the backlog is full nothing more is even decoded."""
        load, limits = _Load(), self._limits
        message = source.receive(0 if self._untidy or self._backlog else IDLE_S)
        began_s = time.monotonic()
        while message is not None:
            ship = ship_of(message.topic) if self._backlog else None
            if ship is not None and self._backlog.is_full(ship):
                load.shed[ship] += 1
                source.finish([Done(message)])
            else:
                self._add(load, message)
            most_s, wait_s = (SHEDDING_S, NEXT_S) if load.shed else (limits.seconds, 0)
            is_over = load.is_full(limits) or time.monotonic() - began_s > most_s
            message = None if is_over else source.receive(wait_s)
        return load

    def _add(self, load: _Load, message: Message) -> None:
        load.messages.append(message)
        load.size_bytes += message.size_bytes
        now_us = self._clock.now_us()
        try:
            batch = decode(message.payload, self._rules, now_us, topic_ship=_ship(message))
        except InvalidInput as error:
            load.reject(error, name_of(error, message.payload), now_us)
            return
        if too_long := _too_long_to_go_back(message):
            load.reject(too_long, batch.batch_id, now_us)
            return
        # A retained message may be of any age: without a `sent_at` it fills holes but corrects nothing.
        if batch.sent_at_us is None:
            batch = batch._replace(sent_at_us=0 if message.retained else now_us)
            if batch.batch_id is not None:
                load.undated[len(load.batches)] = first_seen_key(batch.ship, batch.batch_id, message.payload)
        else:
            load.lags_s.append((now_us - batch.sent_at_us) / US_PER_S)
        load.batches.append((len(load.messages) - 1, batch))
        load.count += len(batch.moment_us)
        self._weigh(load, batch)

    def _weigh(self, load: _Load, batch: Batch) -> None:
        """Have the batch that was added last go to the backlog, if its ship would cost too much."""
        excess = self._excess(load, batch)
        if excess and (batch.ship in self._backlog or load.excess[batch.ship] + excess > MAX_EXCESS):
            load.long.add(len(load.messages) - 1)
            load.count -= len(batch.moment_us)
        elif excess:
            load.excess[batch.ship] += excess
            load.excess_in_all += excess

    def _excess(self, load: _Load, batch: Batch) -> int:
        """Give what a batch costs beyond `FREE_COST` a reading, next to the batch before it."""
        moment_us, near, excess = batch.moment_us, self._near_us, 0
        first_us = last_us = int(moment_us[0])
        if len(moment_us) > 1:
            last_us = int(moment_us[-1])
        if last_us - first_us > near and (moment_us[1:] - moment_us[:-1]).max() > near:
            cost = costs(np.full(len(moment_us), batch.ship), moment_us, self._rules.max_gap_us).sum()
            excess = max(int(cost) - FREE_COST * len(moment_us), 0)
        before = load.last.get(batch.ship)
        load.last[batch.ship] = first_us, last_us
        apart_us = max(first_us - before[1], before[0] - last_us) if before else 0
        if apart_us > near:
            excess += STRETCH_COST + min(apart_us, self._rules.max_gap_us) // SLOT_US
        return excess


def _done(load: _Load, stored: Sequence[tuple[int, Batch]]) -> dict[int, Done]:
    """Give the messages of a load, but for the long ones, each with its receipt, if it gets one; by their places."""
    done = {place: Done(message) for place, message in enumerate(load.messages) if place not in load.long}
    for place, batch in stored:
        if batch.batch_id is not None:
            message = load.messages[place]
            done[place] = Done(message, receipts.stored(message, batch.ship, batch.batch_id, batch.received))
    for place, letter in load.dead.items():
        message = load.messages[place]
        done[place] = Done(message, receipts.rejected(message, load.names[place], letter.problems))
    return done


def _too_long_to_go_back(message: Message) -> InvalidInput | None:
    """Tell what would have to go back with the receipt and is too long: the broker does not bound it."""
    correlation, topic = message.correlation, message.response_topic
    for name, size, most in (
        ("Correlation Data", len(correlation) if correlation else 0, MAX_CORRELATION_BYTES),
        ("Response Topic", len(topic.encode()) if topic else 0, MAX_RESPONSE_TOPIC_BYTES),
    ):
        if size > most:
            return InvalidInput(f"the {name} is too long", (Problem(name, f"has {size} bytes, more than {most}"),))
    return None


def _ship(message: Message) -> int:
    ship = ship_of(message.topic)
    if ship is None:
        raise InvalidInput("the topic names no ship", (Problem("topic", "names no ship"),))
    return ship


def _wait(seconds: float, stopping: Callable[[], bool]) -> None:
    # In slices: a sleep goes on after a signal, and its handler could not set an Event that it has interrupted.
    deadline = time.monotonic() + seconds
    while not stopping() and time.monotonic() < deadline:
        time.sleep(min(0.1, seconds))
