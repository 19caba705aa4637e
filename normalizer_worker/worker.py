"""The worker's loop: take what has arrived, store it, and only then say so and acknowledge it."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from typing import Protocol

from normalizer_worker.backlog import Backlog
from normalizer_worker.ledger.letter_queue import LetterQueue, Morgue
from normalizer_worker.load import Item, Limits, Load, read_item
from normalizer_worker.metrics import Vitals
from normalizer_worker.mqtt.acknowledgements import Done
from shared.contract.acceptance import Rules
from shared.contract.batch import columns
from shared.contract.mqtt_publish import Message
from shared.contract.topics import ship_of
from shared.domain.clock import StrictClock
from shared.domain.errors import Refused, Unavailable
from shared.domain.readings import Readings

log = logging.getLogger(__name__)

IDLE_S = 0.25
SHEDDING_S = 1.0
"""How long to go on while messages are shed: others' messages are behind them, and should not wait for the store."""
NEXT_S = 0.1
"""How long to wait then for the next message, which may be large."""
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

    def kept_alive(self) -> AbstractContextManager[None]:
        """Span what takes long: the connection lives on, and is not used meanwhile."""
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


class Memory(Protocol):
    """What remembers when batches without a `sent_at` came first, as `arrivals.Arrivals` does."""

    def first(self, arrivals: Sequence[tuple[bytes, int]]) -> list[int]:
        """Give the moments that count, of keys and the moments at which they came now."""
        ...


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
        self._letters = LetterQueue(morgue, vitals)
        self._memory = memory
        self._vitals = vitals
        self._rules = rules or Rules()
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
        """Store what has arrived and a part of the backlog; send receipts and acknowledge what is stored.

        Returns:
            How much was done: messages taken, and parts.

        Raises:
            Unavailable: broker or store is away; nothing was said or acknowledged of what is not stored.

        """
        try:
            done = self._do_load(source) + self._do_part(source)
            with source.kept_alive():
                finished = self._letters.go_on()
                self._untidy = self._sink.tidy()
            self._finish(source, finished)
        except BaseException:
            # All that is not acknowledged comes again, on another connection.
            self._backlog.clear()
            self._letters.clear()
            raise
        self._vitals.progressed()
        return done

    def _do_load(self, source: Source) -> int:
        """Store what has arrived; put aside what is to be recorded in parts."""
        load = self._gather(source)
        if load.items:
            with source.kept_alive():
                done = self._store(load)
            self._finish(source, done)
        self._vitals.shed(load.shed)
        return len(load.items) + load.shed.total()

    def _do_part(self, source: Source) -> int:
        """Store a part of the backlog."""
        if not self._backlog:
            return 0
        part = self._backlog.next_part()
        began_s = time.monotonic()
        with source.kept_alive(), self._vitals.transaction():
            self._record(part.items, part.readings)
        if any(each.letter for each in part.items):
            part = part._replace(is_last=True)  # the rest of a refused batch is not recorded
        self._backlog.done(part, time.monotonic() - began_s)
        if part.is_last:
            self._finish(source, self._settle(part.items))
        return 1

    def _finish(self, source: Source, done: Sequence[Done]) -> None:
        if done:
            source.finish(done)
            self._vitals.answered(each.receipt.status for each in done if each.receipt)

    def _store(self, load: Load) -> list[Done]:
        """Make a load durable, but for what goes to the backlog; give the messages that need nothing more."""
        now = [each for each in load.items if not each.goes_to_backlog]
        with self._vitals.transaction():
            self._date(load.items)
            self._record([each for each in now if each.batch])
        done = self._settle(now)
        for each in load.items:
            if each.goes_to_backlog:
                shed = self._backlog.add(each)
                load.shed.update(other.valid.ship for other in shed)
                done += [Done(other.message) for other in shed]
        return done

    def _date(self, items: Sequence[Item]) -> None:
        """Give batches without a `sent_at` the time at which they were first seen."""
        undated = [(each, each.first_seen_key) for each in items if each.first_seen_key]
        if not undated:
            return
        first_us = self._memory.first([(key, each.valid.sent_at_us or 0) for each, key in undated])
        for (each, _), sent_at_us in zip(undated, first_us, strict=True):
            each.batch = each.valid._replace(sent_at_us=sent_at_us)

    def _record(self, items: Sequence[Item], part: Readings | None = None) -> None:
        """Record batches. Those that the store refuses become dead letters: halving finds them.

        It may be only a `part` of the batches that is recorded, as long as nothing of it is refused.
        """
        if not items:
            return
        try:
            self._sink.record(columns([each.valid for each in items]) if part is None else part)
        except Refused as error:
            if len(items) == 1:
                items[0].reject(error, self._clock.now_us())
                return
            half = len(items) // 2
            self._record(items[:half])
            self._record(items[half:])

    def _settle(self, items: Sequence[Item]) -> list[Done]:
        """Count what is stored, and keep dead letters; give the messages that need nothing more."""
        done = [each.done() for each in items]
        letters = [(of, each.letter) for of, each in zip(done, items, strict=True) if each.letter]
        self._vitals.stored(
            messages=len(items),
            readings=sum(each.valid.received for each in items if not each.letter),
            dead=len(letters),
            dead_at_end=next((place for place, each in enumerate(reversed(items)) if not each.letter), len(items)),
            lags_s=[each.lag_s for each in items if each.lag_s is not None],
        )
        if not letters:
            return done
        for _, letter in letters:
            log.warning("dead letter on %r: %s", letter.topic, letter.why(1))
        # While letters cannot be written, their messages are not acknowledged. Some may be of earlier loads.
        waiting = {id(of) for of, _ in letters}
        finished = self._letters.keep(letters)
        ours = waiting.intersection(map(id, finished))
        earlier = [each for each in finished if id(each) not in waiting]
        return earlier + [each for each in done if id(each) not in waiting or id(each) in ours]

    def _gather(self, source: Source) -> Load:
        """Take what has arrived. Of a ship whose share of the backlog is full nothing more is even decoded."""
        backlog, rules, clock = self._backlog, self._rules, self._clock
        load = Load(self._limits, rules.max_gap_us)
        has_backlog = bool(backlog)
        message = source.receive(0 if self._untidy or has_backlog else IDLE_S)
        began_s = time.monotonic()
        while message is not None:
            ship = ship_of(message.topic) if has_backlog else None
            if ship is not None and backlog.is_full(ship):
                load.shed[ship] += 1
                source.finish([Done(message)])
            else:
                load.add(read_item(message, rules, clock.now_us()), is_in_backlog=ship is not None and ship in backlog)
            most_s, wait_s = (SHEDDING_S, NEXT_S) if load.shed else (self._limits.seconds, 0)
            is_over = load.is_full() or time.monotonic() - began_s > most_s
            message = None if is_over else source.receive(wait_s)
        return load


def _wait(seconds: float, stopping: Callable[[], bool]) -> None:
    # In slices: a sleep goes on after a signal, and its handler could not set an Event that it has interrupted.
    deadline = time.monotonic() + seconds
    while not stopping() and time.monotonic() < deadline:
        time.sleep(min(0.1, seconds))
