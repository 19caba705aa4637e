"""The worker's loop: receive messages, store them, and only then send receipts and acknowledge."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from typing import Protocol, TypeVar

from normalizer_worker.backlog import Backlog, Part
from normalizer_worker.first_counts import FirstCounts
from normalizer_worker.ledger.first_seen import Seen
from normalizer_worker.ledger.letter_queue import DeadLetterStore, LetterQueue
from normalizer_worker.load import Item, Limits, Load, count_superseded, read_item
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.publish import Message
from shared.contract.acceptance import Rules
from shared.contract.batch import columns
from shared.contract.topics import ship_of
from shared.domain.clock import StrictClock
from shared.domain.covariates import Covariates
from shared.domain.deletions import DeletionRow
from shared.domain.errors import Refused, Unavailable
from shared.domain.readings import Readings

log = logging.getLogger(__name__)

IDLE_S = 0.25
SHEDDING_S = 1.0
"""How long a load is gathered while messages are shed: other ships' messages are queued behind them."""
NEXT_S = 0.1
"""How long to wait for the next message then; it may be large."""
FIRST_RETRY_S = 0.25
LAST_RETRY_S = 15.0


class Source(Protocol):
    """Where messages come from; see `mqtt.session.Connection`."""

    def receive(self, wait_s: float) -> Message | None:
        """Return the next message, or None after `wait_s`."""

    def finish(self, done: Sequence[Done]) -> None:
        """Send receipts and acknowledge the messages."""

    def kept_alive(self) -> AbstractContextManager[None]:
        """Context for slow work: keeps the connection alive, which is not used meanwhile."""

    def close(self) -> None:
        """End the connection."""


class Sink(Protocol):
    """Where readings go; see `recorder.Recorder`."""

    def record(self, readings: Readings) -> Readings | None:
        """Store readings and the slots they change; return those that do not count; None if all do."""

    def delete_part(self, deletion: DeletionRow, most_cost: int) -> DeletionRow | None:
        """Store the first part of a deletion, and what it changes; return the rest, None if there is none."""

    def put_covariates(self, covariates: Covariates) -> None:
        """Store a ship's table of covariates, unless one that was sent later is stored."""

    def tidy(self) -> bool:
        """Do some background work; return whether more is left."""


class FirstSeenStore(Protocol):
    """Records first-seen times: `FirstSeenTimes`, `PartitionFirstSeen`, or a double of the tests."""

    def first(self, seen: Sequence[Seen]) -> Sequence[int | None]:
        """Return first-seen times; None for a batch with the key of another one and other content."""


class Worker:
    """Moves messages from a source into a sink; acknowledges nothing before it is durable."""

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
        backlog: Backlog | None = None,
        letters_wait: bool = True,
        several_gateways: bool = False,
    ) -> None:
        """Keep the parts; `connect` opens a new connection, or raises `Unavailable`.

        Without a `backlog` it has one of its own; `letters_wait` is the `may_wait` of `LetterQueue`, and
        `several_gateways` that of `read_item`.
        """
        self._connect = connect
        self._sink = sink
        self._letters = LetterQueue(dead_letters, metrics, may_wait=letters_wait)
        self._first_seen = first_seen
        self._first_counts = FirstCounts()
        self._metrics = metrics
        self._rules = rules or Rules()
        self._backlog = Backlog(self._rules.max_gap_us) if backlog is None else backlog
        self._limits = limits or Limits()
        self._several_gateways = several_gateways
        self._clock = StrictClock()
        self._untidy = False

    def run(self, stopping: Callable[[], bool], ready: Callable[[], None]) -> None:
        """Work until `stopping`; the step under way is finished.

        When broker or store is unavailable, the connection is closed and another one opened after a pause. The broker
        then redelivers what was not acknowledged.
        """
        serve(self._connect, self.step, self._metrics, stopping, ready)

    @property
    def has_work(self) -> bool:
        """Whether something is left to do without a further message."""
        return bool(self._backlog) or self._untidy

    def step(self, source: Source) -> int:
        """Store what has arrived and a part of the backlog; send receipts and acknowledge what is stored.

        Returns:
            How many messages and parts were handled.

        Raises:
            Unavailable: broker or store is unavailable; nothing that is not stored was acknowledged.

        """
        try:
            done = self._do_load(source) + self._do_part(source)
            with source.kept_alive():
                finished = self._letters.go_on()
                self._untidy = self._sink.tidy()
            self._finish(source, finished)
        except BaseException:
            # The broker redelivers all of it on the next connection.
            self._backlog.clear()
            self._letters.clear()
            raise
        self._metrics.progressed()
        return done

    def _do_load(self, source: Source) -> int:
        """Gather a load and store it, but for what goes to the backlog."""
        load = self._gather(source)
        if load.items:
            with source.kept_alive():
                done = self._store(load)
            self._finish(source, done)
        self._metrics.shed(load.shed)
        return len(load.items) + load.shed.total()

    def _do_part(self, source: Source) -> int:
        """Store the next part of the backlog."""
        if not self._backlog:
            return 0
        part = self._backlog.next_part()
        began_s = time.monotonic()
        with source.kept_alive(), self._metrics.transaction():
            if part.deletion is not None:
                part = part.rest(self._delete(part.items[0], part.deletion, part.cost))
            elif (content := part.items[0].valid.covariates) is not None:
                self._put_covariates(part.items[0], content)
            else:
                self._record(part.items, part)
        if any(each.letter for each in part.items):
            part = part._replace(is_last=True)  # of a refused batch nothing more is recorded
        elif part.is_last:
            count_superseded(part.items, Readings.concat(part.lost))
        self._backlog.done(part, time.monotonic() - began_s)
        if part.is_last:
            self._finish(source, self._settle(part.items))
        return 1

    def _finish(self, source: Source, done: Sequence[Done]) -> None:
        if done:
            source.finish(done)
            self._metrics.answered(each.receipt.status for each in done if each.receipt)

    def _store(self, load: Load) -> list[Done]:
        """Store a load, but for what goes to the backlog; return the messages that are done."""
        with self._metrics.transaction():
            self._date(load.items)
            now = [each for each in load.items if not each.goes_to_backlog]
            self._record([each for each in now if each.batch])
        done = self._settle(now)
        for each in load.items:
            if each.goes_to_backlog:
                shed = self._backlog.add(each)
                load.shed.update(other.valid.ship for other in shed)
                done += [Done(other.message) for other in shed]
        return done

    def _date(self, items: Sequence[Item]) -> None:
        """Give batches without a `sent_at` their first-seen time; reject those whose `batch_id` another one has."""
        seen = [(each, each.seen) for each in items if each.seen]
        if not seen:
            return
        first_us = self._first_seen.first([found for _, found in seen])
        for (each, _), sent_at_us in zip(seen, first_us, strict=True):
            if sent_at_us is None:
                each.reject_name(self._clock.now_us())
            elif sent_at_us != each.valid.sent_at_us:
                each.batch = each.valid._replace(sent_at_us=sent_at_us)

    def _record(self, items: Sequence[Item], part: Part | None = None) -> None:
        """Record batches, or only a `part` of their readings.

        Batches that the store refuses become dead letters. They are found by halving.
        """
        if not items:
            return
        try:
            if part is None:
                lost = self._sink.record(columns([each.valid for each in items]))
                if lost is not None:
                    count_superseded(items, lost)
            elif (lost := self._sink.record(part.readings)) is not None:
                part.lost.append(lost)
        except Refused as error:
            if len(items) == 1:
                items[0].reject(error, self._clock.now_us())
                return
            half = len(items) // 2
            self._record(items[:half])
            self._record(items[half:])

    def _delete(self, item: Item, deletion: DeletionRow, most_cost: int) -> DeletionRow | None:
        """Store a part of a deletion and return the rest; one that the store refuses becomes a dead letter."""
        try:
            return self._sink.delete_part(deletion, most_cost)
        except Refused as error:
            item.reject(error, self._clock.now_us())
            return None

    def _put_covariates(self, item: Item, content: str) -> None:
        """Store a table of covariates; one that the store refuses becomes a dead letter."""
        batch = item.valid
        try:
            self._sink.put_covariates(Covariates(batch.ship, batch.sent_at_us or 0, content))
        except Refused as error:
            item.reject(error, self._clock.now_us())

    def _settle(self, items: Sequence[Item]) -> list[Done]:
        """Count what is stored and keep dead letters; return the messages that are done."""
        for each in items:
            if each.batch_id is not None and not each.letter:
                each.superseded = self._first_counts.first(each.message, each.batch_id, each.superseded)
        done = [each.done() for each in items]
        letters = [(of, each.letter) for of, each in zip(done, items, strict=True) if each.letter]
        self._metrics.stored(
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
        # A message is not done before its dead letter is written. Letters of earlier loads may be written now, too.
        waiting = {id(of) for of, _ in letters}
        finished = self._letters.keep(letters)
        ours = waiting.intersection(map(id, finished))
        earlier = [each for each in finished if id(each) not in waiting]
        return earlier + [each for each in done if id(each) not in waiting or id(each) in ours]

    def _gather(self, source: Source) -> Load:
        """Receive a load. Messages of a ship whose backlog is full are shed without being decoded."""
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
                item = read_item(message, rules, clock.now_us(), several_gateways=self._several_gateways)
                load.add(item, is_in_backlog=ship is not None and ship in backlog)
            most_s, wait_s = (SHEDDING_S, NEXT_S) if load.shed else (self._limits.seconds, 0)
            is_over = load.is_full() or time.monotonic() - began_s > most_s
            message = None if is_over else source.receive(wait_s)
        return load


class _Closing(Protocol):
    def close(self) -> None: ...


Connected = TypeVar("Connected", bound=_Closing)


def serve(
    connect: Callable[[], Connected],
    step: Callable[[Connected], int],
    metrics: WorkerMetrics,
    stopping: Callable[[], bool],
    ready: Callable[[], None],
) -> None:
    """Connect and do step after step until `stopping`; after `Unavailable` begin again, after a pause."""
    retry_s = FIRST_RETRY_S
    while not stopping():
        try:
            with closing(connect()) as source, metrics.session():
                log.info("connected to the broker")
                ready()
                while not stopping():
                    if step(source):
                        retry_s = FIRST_RETRY_S
        except Unavailable as error:
            log.warning("%s; next try in %.1f s", error, retry_s)
            _wait(retry_s, stopping)
            retry_s = min(retry_s * 2, LAST_RETRY_S)


def _wait(seconds: float, stopping: Callable[[], bool]) -> None:
    # In slices: a sleep resumes after a signal, and the handler could not set an Event that it interrupted.
    deadline = time.monotonic() + seconds
    while not stopping() and time.monotonic() < deadline:
        time.sleep(min(0.1, seconds))
