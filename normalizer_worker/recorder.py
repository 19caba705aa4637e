"""Stores readings and the slots that they change, together, in transactions of the store."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise

import numpy as np

from normalizer_worker.deletion_cache import DeletionCache
from normalizer_worker.neighbour_cache import NeighbourCache
from normalizer_worker.rule.affected_slots import changes, merge, slots_within
from normalizer_worker.rule.deletions import are_deleted, undeleted
from normalizer_worker.rule.intervals import longest_us
from normalizer_worker.rule.normalize import latest
from normalizer_worker.rule.reach import Neighbourhood, Span, read_neighbourhoods, spans, windows
from normalizer_worker.rule.superseded import outranked
from shared.domain.columns import I64, starts
from shared.domain.covariates import Covariates
from shared.domain.deletions import DeletionRow, Deletions, joined
from shared.domain.errors import Refused
from shared.domain.readings import Readings
from shared.domain.slots import SLOT_US, Slots
from shared.domain.timestamps import US_PER_S
from shared.store.port import ReadingStore

CACHED_READINGS = 500_000
MAX_SLOTS = 500_000
MAX_STRETCHES = 500
"""Of a transaction, roughly: a ship's stretches are read one by one, and a transaction should not take long."""
MAX_SHIPS = 5000
"""Of a transaction, for the same reason: the neighbours of so many are read in some 10 s."""
SHIP_COST = MAX_SLOTS // MAX_SHIPS
STRETCH_COST = MAX_SLOTS // MAX_STRETCHES
MAX_DELETED = 10_000
"""How many readings one transaction deletes."""
MAX_DELETIONS = 10_000
"""How many deletions of a ship are stored: they are read together with its readings."""
NEAR_US = 2 * 3600 * US_PER_S


class Recorder:
    """The use case of the worker: readings of any ships, in any order, become durable readings and slots."""

    def __init__(self, store: ReadingStore, max_gap_us: int, cached_readings: int = CACHED_READINGS) -> None:
        """Work on a store; `max_gap_us` is that of `normalize`, `cached_readings` bounds the `NeighbourCache`."""
        self._store = store
        self._max_gap_us = max_gap_us
        self._cache = NeighbourCache(cached_readings)
        self._deletions = DeletionCache(store, cached_readings)

    def record(self, readings: Readings) -> Readings | None:
        """Store readings and the slots that they change.

        That is one transaction, or several if they change very many slots. After each one readings and slots agree.

        Returns:
            Those of `latest(readings)` that do not count: stored readings outrank them, or deletions take them out.
            None if all of `readings` count.

        Raises:
            Unavailable: the store does not answer; readings that are not stored yet have to be recorded again.
            Refused: the store rejects some of them for good; the slots agree with those that it has accepted.

        """
        lost: list[Readings] = []
        newest = latest(readings)
        for load in transactions(newest, self._max_gap_us):
            try:
                lost += self._transact(load)
            except Refused as refused:
                with suppress(Refused):
                    self._transact(load, only_slots=True)
                raise refused from None
        return Readings.concat(lost) if lost or len(newest) < len(readings) else None

    def delete(self, deletion: DeletionRow) -> None:
        """Store a deletion, remove the readings that it deletes, and store the slots that this changes.

        That is one transaction, or several if it spans many readings. For the errors see `delete_part`.
        """
        left: DeletionRow | None = deletion
        while left:
            left = self.delete_part(left, MAX_SLOTS)

    def delete_part(self, deletion: DeletionRow, most_cost: int) -> DeletionRow | None:
        """Do the first part of a deletion, in one transaction: a deletion is the same as all its parts.

        Returns:
            The rest of the deletion; None if there is none. `most_cost` is for the part, as `costs` counts it.

        Raises:
            Unavailable: the store does not answer; the deletion has to be recorded again.
            Refused: the ship has too many deletions.

        """
        ship, start_us, end_us, sent_at_us = deletion
        with self._transaction():
            # The parts together are as many as the whole one; meanwhile there may be one or two more.
            if len(joined(self._deletions.of([ship]), Deletions.from_rows([deletion]))) > MAX_DELETIONS:
                most = f"the ship has {MAX_DELETIONS:,} deletions"
                raise Refused(f"{most}: delete a longer span that includes some of them")
            first = self._store.stored_readings(ship, start_us, end_us, MAX_DELETED)
            cost = costs(first.ship, first.moment_us, longest_us(first, self._max_gap_us)).cumsum()
            count = max(int(cost.searchsorted(most_cost, side="right")), 1)
            all_of_them = count >= len(first) < MAX_DELETED
            until_us = end_us if all_of_them else int(first.moment_us[:count][-1]) + 1
            self._delete((ship, start_us, until_us, sent_at_us))
        return None if until_us == end_us else (ship, until_us, end_us, sent_at_us)

    def _delete(self, deletion: DeletionRow) -> None:
        """Store a part of a deletion, inside a transaction. All that it changes is read from the store."""
        ship, start_us, end_us, _ = deletion
        span = Span(ship, start_us, end_us - 1)
        deletions = joined(self._deletions.of([ship]), Deletions.from_rows([deletion]))
        near = read_neighbourhoods([span], self._store.readings_around)
        known, window = near[ship].readings, windows(near)
        are_gone = are_deleted(known, deletions)
        slots, was = changes(self._store.stored_slots(window), slots_within(known[~are_gone], self._max_gap_us, window))
        self._store.put_deletions(deletions)
        edges = np.flatnonzero(np.diff(are_gone, prepend=False, append=False))
        for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            self._store.remove_readings(ship, int(known.moment_us[first]), int(known.moment_us[end - 1]) + 1)
        if len(slots):
            self._store.put_slots(slots, was)
        self._deletions.put(ship, deletions)
        self._cache.drop(ship)

    def put_covariates(self, covariates: Covariates) -> None:
        """Store a ship's table of covariates, unless one that was sent later is stored.

        Raises:
            Unavailable: the store does not answer; the table has to be recorded again.
            Refused: the store rejects it.

        """
        with self._transaction():
            if covariates.replaces(self._store.stored_covariates(covariates.ship)):
                self._store.put_covariates(covariates)

    def tidy(self) -> bool:
        """Do some maintenance of the store; return whether more is left.

        Raises:
            Unavailable: the store does not answer.

        """
        try:
            return self._store.tidy()
        except BaseException:
            self._forget()  # another worker may have taken the store over
            raise

    def _forget(self) -> None:
        self._cache.clear()
        self._deletions.clear()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Open a transaction of the store; after an error forget what it may have put into the caches."""
        try:
            with self._store.transaction():
                yield
        except BaseException:
            self._forget()
            raise

    def _transact(self, load: Readings, *, only_slots: bool = False) -> list[Readings]:
        """Store readings and slots in one transaction, and return which do not count.

        With `only_slots` it stores the slots around them, and no readings.
        """
        lost: list[Readings] = []
        with self._transaction():
            for part in stretches(load, self._max_gap_us):
                lost += self._put(part[:0] if only_slots else part, spans(part))
        return lost

    def _put(self, came: Readings, within: Sequence[Span]) -> list[Readings]:
        """Store new readings, all in the spans, and the slots that change around these; return which do not count."""
        lost: list[Readings] = []
        deletions = self._deletions.of([span.ship for span in within])
        new = undeleted(came, deletions)
        if len(new) < len(came):
            lost.append(came[are_deleted(came, deletions)])
        cached = {span.ship: self._cache.around(span) for span in within}
        read = read_neighbourhoods([span for span in within if not cached[span.ship]], self._store.readings_around)
        near = {ship: each or read[ship] for ship, each in cached.items()}
        known, of_ships = Readings.concat([each.readings for each in near.values()]), windows(near)
        merged, is_new, replaced = merge(known, new)
        # Cached readings are stored with all their slots, so these need not be read. Readings from the store may lack
        # theirs, after a crash: those slots are read, too, and corrected if they are wrong.
        is_cached = np.array([each is not None for each in cached.values()])
        are_cached = known[np.repeat(is_cached, [len(each.readings) for each in near.values()])] if read else known
        was = slots_within(are_cached, self._max_gap_us, of_ships)
        if read:
            was = Slots.concat([was, self._store.stored_slots(of_ships[~is_cached])])
        slots, was = changes(was, slots_within(merged, self._max_gap_us, of_ships))
        added = np.count_nonzero(is_new)
        if added:
            self._store.put_readings(merged[is_new], replaced)
        if added < len(new):  # the others are repeats, or do not count
            is_lost = outranked(Readings.concat([known, new]))[len(known) :]
            if is_lost.any():
                lost.append(new[is_lost])
        if len(slots):
            self._store.put_slots(slots, was)
        ends = merged.ship.searchsorted(of_ships.ship, side="right").tolist()
        for (ship, each), start, end in zip(near.items(), [0, *ends[:-1]], ends, strict=True):
            if end > start:
                self._cache.put(ship, Neighbourhood(merged[start:end], each.from_oldest, each.to_newest))
        return lost


def transactions(readings: Readings, max_gap_us: int) -> Iterator[Readings]:
    """Split readings, sorted by ship and time, into parts that one transaction can hold (see `MAX_SLOTS` and others).

    A few thousand readings that are a day apart give energy to that many slots. Where they are split makes no
    difference to the slots.
    """
    cost = costs(readings.ship, readings.moment_us, longest_us(readings, max_gap_us))
    part = cost.cumsum() // MAX_SLOTS
    cuts = (part[1:] != part[:-1]).nonzero()[0] + 1
    for start, end in pairwise([0, *cuts.tolist(), len(readings)]):
        yield readings[start:end]


def costs(ship: I64, moment_us: I64, max_gap_us: int) -> I64:
    """Estimate the cost of recording each reading, in slots; the readings are sorted by ship and time.

    A reading costs the slots since the one before it, up to `max_gap_us`, the longest time that one speaks for. The
    first one of a ship or of a stretch costs more, because its neighbours are read from the store.
    """
    step_us = moment_us.copy()
    step_us[1:] -= moment_us[:-1]
    starts_ship = starts(ship)
    step_us[starts_ship] = max_gap_us
    cost = np.minimum(np.abs(step_us), max_gap_us) // SLOT_US + 1
    cost[starts_ship] = np.maximum(cost[starts_ship], SHIP_COST)
    cost[(step_us > near_us(max_gap_us)) & ~starts_ship] += STRETCH_COST
    return cost


def near_us(max_gap_us: int) -> int:
    """Return the greatest distance between two readings of one stretch."""
    return min(max_gap_us, NEAR_US)


def stretches(readings: Readings, max_gap_us: int) -> Iterator[Readings]:
    """Split readings, sorted by ship and time, so that those of one ship in one part are close together.

    Readings that are more than `NEAR_US` apart have different neighbours, and what is stored between them is not read.
    """
    ship = readings.ship
    starts_ship = starts(ship)
    moment_us, apart = readings.moment_us, ~starts_ship
    apart[1:] &= moment_us[1:] - moment_us[:-1] > near_us(max_gap_us)
    if not apart.any():
        yield readings
        return
    stretch = np.cumsum(apart, dtype=np.int64)
    stretch -= stretch[starts_ship][np.cumsum(starts_ship) - 1]
    order = np.argsort(stretch, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(stretch[order])) + 1):
        yield readings[rows]
