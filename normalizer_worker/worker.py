"""The worker's loop: take what has arrived, store it, and only then say so and acknowledge it."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from normalizer_worker import receipts
from normalizer_worker.arrivals import arrival_key
from normalizer_worker.dead_letters import DeadLetter
from normalizer_worker.finishing import Done
from normalizer_worker.vitals import Vitals
from shared.batch import Batch, columns, decode, name_of
from shared.clock import StrictClock
from shared.errors import InvalidInput, Problem, Refused, Unavailable
from shared.moments import US_PER_S
from shared.mqtt_publish import Message
from shared.readings import Readings
from shared.rules import Rules
from shared.topics import ship_of

log = logging.getLogger(__name__)

IDLE_S = 0.25
FIRST_RETRY_S = 0.25
LAST_RETRY_S = 15.0


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


class Morgue(Protocol):
    """Where messages go that can never be stored, as `dead_letters.DeadLetters` keeps them."""

    def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Make letters durable."""
        ...


class Memory(Protocol):
    """What remembers when batches without a `sent_at` came first, as `arrivals.Arrivals` does."""

    def first(self, arrivals: Sequence[tuple[bytes, int]]) -> list[int]:
        """Give the moments that count, of keys and the moments at which they came now."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one transaction takes at most; it takes less as soon as nothing more has arrived."""

    messages: int = 5_000
    readings: int = 50_000
    size_bytes: int = 16 * 1024 * 1024
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
        count: how many readings there are.
        size_bytes: of all payloads; also of what holds few readings, or none.

    """

    messages: list[Message] = field(default_factory=list)
    batches: list[tuple[int, Batch]] = field(default_factory=list)
    undated: dict[int, bytes] = field(default_factory=dict)
    dead: dict[int, DeadLetter] = field(default_factory=dict)
    names: dict[int, UUID | None] = field(default_factory=dict)
    lags_s: list[float] = field(default_factory=list)
    count: int = 0
    size_bytes: int = 0

    def is_full(self, limits: Limits) -> bool:
        """Tell whether it is as much as one transaction may take."""
        return (
            len(self.messages) >= limits.messages
            or self.count >= limits.readings
            or self.size_bytes >= limits.size_bytes
        )


class Worker:
    """Moves messages from a source into a sink; nothing is acknowledged before it is durable."""

    def __init__(  # noqa: PLR0913  # the parts are put together in one place
        self,
        connect: Callable[[], Source],
        sink: Sink,
        morgue: Morgue,
        memory: Memory,
        vitals: Vitals,
        *,
        rules: Rules | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Put the parts together; `connect` opens a new connection, and raises `Unavailable` while it cannot."""
        self._connect = connect
        self._sink = sink
        self._morgue = morgue
        self._memory = memory
        self._vitals = vitals
        self._rules = rules or Rules()
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
                with closing(self._connect()) as source, self._vitals.session():
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
        """Store what has arrived, then send receipts and acknowledge it; give the number of messages.

        Raises:
            Unavailable: broker or store is away; nothing was said or acknowledged of what is not stored.

        """
        load = self._gather(source)
        if load.messages:
            done = self._store(load)
            source.finish(done)
            self._vitals.answered(each.receipt.status for each in done if each.receipt)
        self._untidy = self._sink.tidy()
        self._vitals.progressed()
        return len(load.messages)

    def _store(self, load: _Load) -> list[Done]:
        """Make a load durable; give its messages, each with the receipt that may be sent from now on."""
        with self._vitals.transaction():
            self._date(load)
            stored = self._record(load, load.batches) if load.batches else []
            self._morgue.keep([*load.dead.values()])
        self._vitals.stored(
            messages=len(load.messages),
            readings=sum(batch.received for _, batch in stored),
            dead=len(load.dead),
            dead_at_end=len(load.messages) - 1 - max((place for place, _ in stored), default=-1),
            lags_s=load.lags_s,
        )
        for letter in load.dead.values():
            log.warning("dead letter on %r: %s", letter.topic, letter.why(1))
        return _done(load, stored)

    def _date(self, load: _Load) -> None:
        """Give batches without a `sent_at` the moment at which they came first."""
        if not load.undated:
            return
        came = [(key, load.batches[at][1].sent_at_us or 0) for at, key in load.undated.items()]
        for at, first_us in zip(load.undated, self._memory.first(came), strict=True):
            place, batch = load.batches[at]
            load.batches[at] = (place, batch._replace(sent_at_us=first_us))

    def _record(self, load: _Load, batches: Sequence[tuple[int, Batch]]) -> list[tuple[int, Batch]]:
        """Record batches and give those stored; they are halved until what the store refuses stands alone."""
        try:
            self._sink.record(columns([batch for _, batch in batches]))
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
        load, limits = _Load(), self._limits
        message = source.receive(0 if self._untidy else IDLE_S)
        deadline = time.monotonic() + limits.seconds
        while message is not None:
            self._add(load, message)
            message = None if load.is_full(limits) or time.monotonic() > deadline else source.receive(0)
        return load

    def _add(self, load: _Load, message: Message) -> None:
        load.messages.append(message)
        load.size_bytes += len(message.payload)
        now_us = self._clock.now_us()
        try:
            batch = decode(message.payload, self._rules, now_us, topic_ship=_ship(message))
        except InvalidInput as error:
            place = len(load.messages) - 1
            load.dead[place] = DeadLetter.of(message.topic, message.payload, error, now_us)
            load.names[place] = name_of(error, message.payload)
            return
        # A retained message may be of any age: without a `sent_at` it fills holes but corrects nothing.
        if batch.sent_at_us is None:
            batch = batch._replace(sent_at_us=0 if message.retained else now_us)
            if batch.batch_id is not None:
                load.undated[len(load.batches)] = arrival_key(batch.ship, batch.batch_id, message.payload)
        else:
            load.lags_s.append((now_us - batch.sent_at_us) / US_PER_S)
        load.batches.append((len(load.messages) - 1, batch))
        load.count += len(batch.moment_us)


def _done(load: _Load, stored: Sequence[tuple[int, Batch]]) -> list[Done]:
    """Give the messages of a load that is durable, each with its receipt, if it gets one."""
    done = [Done(message) for message in load.messages]
    for place, batch in stored:
        if batch.batch_id is not None:
            message = load.messages[place]
            done[place] = Done(message, receipts.stored(message, batch.ship, batch.batch_id, batch.received))
    for place, letter in load.dead.items():
        message = load.messages[place]
        done[place] = Done(message, receipts.rejected(message, load.names[place], letter.problems))
    return done


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
