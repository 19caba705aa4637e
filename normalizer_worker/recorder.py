"""Stores readings and the slots they change, together, in transactions of the store."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from normalizer_worker.normalize import latest
from normalizer_worker.recompute import recompute
from normalizer_worker.tails import Tails
from shared.moments import US_PER_S
from shared.readings import Readings
from shared.slots import SLOT_US
from shared.store.port import Neighbourhood, ReadingStore, Span

TAIL_READINGS = 500_000
MAX_SLOTS = 500_000
NEAR_US = 2 * 3600 * US_PER_S


class Recorder:
    """The use-case of the worker: readings of any ships, in any order, become durable readings and slots."""

    def __init__(self, store: ReadingStore, max_gap_us: int, tail_readings: int = TAIL_READINGS) -> None:
        """Work on a store; `tail_readings` bounds what is remembered of it."""
        self._store = store
        self._max_gap_us = max_gap_us
        self._tails = Tails(tail_readings)

    def record(self, readings: Readings) -> None:
        """Store readings and what they make of the slots.

        That is one transaction, unless they make a great many slots: then it is several, each whole in itself.

        Raises:
            Unavailable: the store is away; what is not stored of the readings must be recorded again.

        """
        for load in transactions(latest(readings), self._max_gap_us):
            try:
                with self._store.transaction() as others_wrote:
                    if others_wrote:
                        self._tails.clear()
                    for part in stretches(load, self._max_gap_us):
                        self._record(part)
            except BaseException:
                self._tails.clear()  # they may tell of what was not committed
                raise

    def _record(self, new: Readings) -> None:
        spans = _spans(new)
        around = self._neighbourhoods(spans)
        known = Readings.concat([each.readings for each in around])
        self._store.put_readings(new)
        merged, slots = recompute(known, new, self._max_gap_us)
        self._store.put_slots(slots)
        ends = np.searchsorted(merged.ship, [span.ship for span in spans], side="right").tolist()
        for span, each, start, end in zip(spans, around, [0, *ends[:-1]], ends, strict=True):
            self._tails.put(span.ship, Neighbourhood(merged[start:end], each.from_oldest, each.to_newest))

    def _neighbourhoods(self, spans: list[Span]) -> list[Neighbourhood]:
        around = [self._tails.around(span) for span in spans]
        asked = iter(self._store.neighbourhoods([span for span, known in zip(spans, around, strict=True) if not known]))
        return [known or next(asked) for known in around]


def transactions(readings: Readings, max_gap_us: int) -> Iterator[Readings]:
    """Cut readings, sorted by ship and time, so that each part makes `MAX_SLOTS` at most, more or less.

    A few thousand readings that are a day apart make as many slots as a transaction should hold. Where it is cut makes
    no difference to the slots.
    """
    step_us = np.diff(readings.moment_us, prepend=0)
    step_us[np.append([True], np.diff(readings.ship) != 0)] = max_gap_us
    slots = np.cumsum(np.minimum(np.abs(step_us), max_gap_us) // SLOT_US + 1)
    cuts = np.flatnonzero(np.diff(slots // MAX_SLOTS)) + 1
    for start, end in pairwise([0, *cuts.tolist(), len(readings)]):
        yield readings[start:end]


def stretches(readings: Readings, max_gap_us: int) -> Iterator[Readings]:
    """Part readings, sorted by ship and time: those of one ship in one part lie close together.

    Where more than `NEAR_US` lies between two, each has neighbours of its own, and what lies between must cost nothing.
    """
    ship = readings.ship
    starts_ship = np.append([True], ship[1:] != ship[:-1])
    apart = np.append([False], np.diff(readings.moment_us) > min(max_gap_us, NEAR_US)) & ~starts_ship
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
