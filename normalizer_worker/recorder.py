"""Stores readings and the slots they change, together, in transactions of the store."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise

import numpy as np

from normalizer_worker.neighbour_cache import Tails
from normalizer_worker.rule.affected_slots import changes, merge, slots_within
from normalizer_worker.rule.normalize import latest
from shared.domain.errors import Refused
from shared.domain.readings import I64, Readings
from shared.domain.slots import SLOT_US, Slots
from shared.domain.timestamps import US_PER_S
from shared.store.port import Neighbourhood, ReadingStore, Span

TAIL_READINGS = 500_000
MAX_SLOTS = 500_000
MAX_STRETCHES = 500
"""Of a transaction, more or less: each is read by itself, and a transaction should not take long."""
MAX_SHIPS = 5000
"""Of a transaction, for the same reason: the neighbours of so many are read in some 10 s."""
SHIP_COST = MAX_SLOTS // MAX_SHIPS
STRETCH_COST = MAX_SLOTS // MAX_STRETCHES
NEAR_US = 2 * 3600 * US_PER_S


class Recorder:
    """The use-case of the worker: readings of any ships, in any order, become durable readings and slots."""

    def __init__(self, store: ReadingStore, max_gap_us: int, tail_readings: int = TAIL_READINGS) -> None:
        """Work on a store.

        Args:
            store: where readings and slots go.
            max_gap_us: see `normalize`.
            tail_readings: bounds what is remembered of the store.

        """
        self._store = store
        self._max_gap_us = max_gap_us
        self._tails = Tails(tail_readings)

    def record(self, readings: Readings) -> None:
        """Store readings and what they make of the slots.

        That is one transaction, unless they make a great many slots: then it is several, each whole in itself.

        Raises:
            Unavailable: the store is away; what is not stored of the readings must be recorded again.
            Refused: the store will never take some of them; those that it has taken are in the slots.

        """
        for load in transactions(latest(readings), self._max_gap_us):
            try:
                self._transact(load)
            except Refused as refused:
                with suppress(Refused):
                    self._transact(load, only_slots=True)
                raise refused from None

    def tidy(self) -> bool:
        """Do a little of what can wait; tell whether more of it is left.

        Raises:
            Unavailable: the store is away.

        """
        return self._store.tidy()

    def _transact(self, load: Readings, *, only_slots: bool = False) -> None:
        """Store readings and slots in one transaction; or only the slots of what is stored of the readings."""
        try:
            with self._store.transaction():
                for part in stretches(load, self._max_gap_us):
                    self._put(_spans(part), part[:0] if only_slots else part)
        except BaseException:
            self._tails.clear()  # they may tell of what was not committed
            raise

    def _put(self, spans: Sequence[Span], new: Readings) -> None:
        """Put new readings, all in the spans, and the slots that are to change."""
        around = {span.ship: self._tails.around(span) for span in spans}
        cold = [span for span in spans if around[span.ship] is None]
        asked = {span.ship: each for span, each in zip(cold, self._store.neighbourhoods(cold), strict=True)}
        near = {ship: asked[ship] if each is None else each for ship, each in around.items()}
        known = Readings.concat([each.readings for each in near.values()])
        merged, is_new = merge(known, new)
        # What a tail remembers is stored with all its slots. Of what is read that is not known: a crash may have come
        # between. Its slots are read, too, and whatever is wrong with them is put right.
        windows = {ship: each.window for ship, each in near.items()}
        remembered = np.isin(known.ship, list(asked), invert=True)
        was = Slots.concat(
            [
                slots_within(known[remembered], self._max_gap_us, windows),
                self._store.stored_slots({ship: windows[ship] for ship in asked}),
            ]
        )
        differ = changes(was, slots_within(merged, self._max_gap_us, windows))
        if is_new.any():
            self._store.put_readings(merged[is_new])
        if len(differ.slots):
            self._store.put_slots(differ.slots, differ.was)
        ends = np.searchsorted(merged.ship, list(near), side="right").tolist()
        for (ship, each), start, end in zip(near.items(), [0, *ends[:-1]], ends, strict=True):
            if end > start:
                self._tails.put(ship, Neighbourhood(merged[start:end], each.from_oldest, each.to_newest))


def transactions(readings: Readings, max_gap_us: int) -> Iterator[Readings]:
    """Cut readings, sorted by ship and time: no part makes more than `MAX_SLOTS`, or has more than the other bounds.

    A few thousand readings that are a day apart make as many slots as a transaction should hold. Where it is cut makes
    no difference to the slots.
    """
    cuts = np.flatnonzero(np.diff(np.cumsum(costs(readings.ship, readings.moment_us, max_gap_us)) // MAX_SLOTS)) + 1
    for start, end in pairwise([0, *cuts.tolist(), len(readings)]):
        yield readings[start:end]


def costs(ship: I64, moment_us: I64, max_gap_us: int) -> I64:
    """Estimate what it costs to record each reading, in slots; the readings are sorted by ship and time.

    A reading costs the slots since the one before it. One that begins a stretch, or a ship, costs more: neighbours of
    its own are read from the store.
    """
    step_us = np.diff(moment_us, prepend=0)
    starts_ship = np.append([True], np.diff(ship) != 0)
    step_us[starts_ship] = max_gap_us
    cost = np.minimum(np.abs(step_us), max_gap_us) // SLOT_US + 1
    cost[starts_ship] = np.maximum(cost[starts_ship], SHIP_COST)
    cost[(step_us > near_us(max_gap_us)) & ~starts_ship] += STRETCH_COST
    return cost


def near_us(max_gap_us: int) -> int:
    """Give how far apart two readings of one stretch may lie."""
    return min(max_gap_us, NEAR_US)


def stretches(readings: Readings, max_gap_us: int) -> Iterator[Readings]:
    """Part readings, sorted by ship and time: those of one ship in one part lie close together.

    Where more than `NEAR_US` lies between two, each has neighbours of its own, and what lies between must cost nothing.
    """
    ship = readings.ship
    starts_ship = np.append([True], ship[1:] != ship[:-1])
    apart = np.append([False], np.diff(readings.moment_us) > near_us(max_gap_us)) & ~starts_ship
    if not apart.any():
        yield readings
        return
    stretch = np.cumsum(apart)
    stretch -= stretch[starts_ship][np.cumsum(starts_ship) - 1]
    order = np.argsort(stretch, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(stretch[order])) + 1):
        yield readings[rows]


def _spans(readings: Readings) -> list[Span]:
    first = np.flatnonzero(np.append([True], np.diff(readings.ship) != 0))
    last = np.append(first[1:], [len(readings)]) - 1
    moment_us = readings.moment_us
    columns = zip(readings.ship[first].tolist(), moment_us[first].tolist(), moment_us[last].tolist(), strict=True)
    return [Span(*column) for column in columns]
