"""Stores readings and the slots they change, all in one transaction of the store."""

from collections.abc import Iterator

import numpy as np

from normalizer_worker.normalize import latest
from normalizer_worker.recompute import recompute
from normalizer_worker.tails import Tails
from shared.moments import US_PER_S
from shared.readings import Readings
from shared.store.port import Neighbourhood, ReadingStore, Span

TAIL_READINGS = 500_000
STRETCH_US = 64 * 24 * 3600 * US_PER_S


class Recorder:
    """The use-case of the worker: readings of any ships, in any order, become durable readings and slots."""

    def __init__(self, store: ReadingStore, max_gap_us: int, tail_readings: int = TAIL_READINGS) -> None:
        """Work on a store; `tail_readings` bounds what is remembered of it."""
        self._store = store
        self._max_gap_us = max_gap_us
        self._tails = Tails(tail_readings)

    def record(self, readings: Readings) -> None:
        """Store readings and what they make of the slots.

        Raises:
            Unavailable: the store is away; nothing was stored.

        """
        try:
            with self._store.transaction() as others_wrote:
                if others_wrote:
                    self._tails.clear()
                for part in stretches(latest(readings), self._max_gap_us):
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


def stretches(readings: Readings, max_gap_us: int) -> Iterator[Readings]:
    """Part readings, sorted by ship and time: those of one ship in one part lie close together.

    Where `max_gap_us` or more lies between them, they have different neighbours, and what lies between must cost
    nothing. And a part ends with a stretch of `STRETCH_US`: the slots of many years at once would not fit into memory.
    """
    if not len(readings):
        return
    ship = readings.ship
    starts_ship = np.append([True], ship[1:] != ship[:-1])
    moment_us = readings.moment_us
    apart = (np.diff(moment_us) > max_gap_us) | (np.diff(moment_us // STRETCH_US) != 0)
    apart = np.append([False], apart) & ~starts_ship
    stretch = np.cumsum(apart)
    stretch -= stretch[starts_ship][np.cumsum(starts_ship) - 1]
    if not apart.any():
        yield readings
        return
    order = np.argsort(stretch, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(stretch[order])) + 1):
        yield readings[rows]


def _spans(readings: Readings) -> list[Span]:
    first = np.flatnonzero(np.append([True], np.diff(readings.ship) != 0))
    last = np.append(first[1:], [len(readings)]) - 1
    moment_us = readings.moment_us
    columns = zip(readings.ship[first].tolist(), moment_us[first].tolist(), moment_us[last].tolist(), strict=True)
    return [Span(*column) for column in columns]
