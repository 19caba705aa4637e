"""How far new readings reach: which stored readings, and which slots, they can affect. Pure.

docs/decisions/007-neighbours.md says why each of these readings is needed, and why no others are.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.domain.columns import starts
from shared.domain.readings import LOOKS_BACK, ReadingRanges, Readings
from shared.domain.slots import END_S, LONGEST_US, SLOT_US, ShipWindows, slot_ceil_us, slot_floor_us
from shared.domain.timestamps import US_PER_S

BESIDE = 2
"""How many readings before a slot affect it: the nearest one may last into it, the one before that decides for how
long. After it the same: the nearest one may look back into it."""
SLOTS_AFTER = 2
"""How many slots with readings after the new ones can change."""
LEAST_BEFORE, LEAST_AFTER = 1 + BESIDE, SLOTS_AFTER + BESIDE
"""Fewer readings on a side are never enough: one and `BESIDE`; one in each of `SLOTS_AFTER` and `BESIDE`."""

Read = Callable[[ReadingRanges], Readings]
"""See `ReadingStore.readings_around`."""


@dataclass(frozen=True, slots=True)
class Span:
    """The time from a ship's first new reading to its last, both included, microseconds since 1970."""

    ship: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhood:
    """One ship's readings around a span.

    Attributes:
        readings: by time, without a gap: all that are stored from the first to the last of them.
        from_oldest: whether none before them is stored. False if that is not known.
        to_newest: whether none after them is stored. False if that is not known.

    """

    readings: Readings
    from_oldest: bool
    to_newest: bool

    def has_before(self, span: Span) -> bool:
        """Return whether it holds all readings before the span that are needed."""
        return self.from_oldest or bool(self.readings.moment_us[BESIDE - 1] < self.start_us(span))

    def has_after(self, span: Span) -> bool:
        """Return whether it holds all readings after the span that are needed."""
        return self.to_newest or bool(self.readings.moment_us[-BESIDE] >= self.end_us(span))

    def start_us(self, span: Span) -> int:
        """Return the start of the first slot that can change.

        It is that of the nearest reading before the span. If that looks back, the next reading may decide how far: then
        it is the slot of the reading before that. Where no reading is, one may look back `LONGEST_US`.
        """
        return self._start_us(int(self.readings.moment_us.searchsorted(span.first_us)), span.first_us)

    def _start_us(self, at: int, first_us: int) -> int:
        """Return `start_us` of a span that starts with `first_us`, which comes before the reading at `at`."""
        moment_us = self.readings.moment_us
        if at and not LOOKS_BACK[self.readings.kind[at - 1]]:
            return slot_floor_us(int(moment_us[at - 1]))
        nearest_us = int(moment_us[at - 1]) if at else first_us
        before_us = int(moment_us[at - 2]) if at > 1 else 0
        return slot_floor_us(max(before_us, nearest_us - LONGEST_US))

    def end_us(self, span: Span) -> int:
        """Return the end of the next `SLOTS_AFTER` slots that have readings; earlier if no more are held."""
        moment_us, end_us = self.readings.moment_us, span.last_us + 1
        for _ in range(SLOTS_AFTER):
            at = int(moment_us.searchsorted(end_us))
            if at == len(moment_us):
                break
            end_us = slot_floor_us(int(moment_us[at])) + SLOT_US
        return end_us

    def window_s(self) -> tuple[int, int]:
        """Return start and end of the slots that depend on these readings only, seconds since 1970."""
        moment_us = self.readings.moment_us
        start_s = 0 if self.from_oldest else slot_ceil_us(int(moment_us[BESIDE - 1])) // US_PER_S
        return start_s, END_S if self.to_newest else slot_floor_us(int(moment_us[-BESIDE])) // US_PER_S

    def cut(self, start_us: int, end_us: int | None = None) -> "Neighbourhood":
        """Return the part that decides on the slots from `start_us` to `end_us` (None: on all slots after that)."""
        moment_us = self.readings.moment_us
        first = max(int(moment_us.searchsorted(start_us)) - BESIDE, 0)
        end = len(moment_us) if end_us is None else int(moment_us.searchsorted(end_us)) + BESIDE
        return Neighbourhood(
            self.readings[first:end], self.from_oldest and first == 0, self.to_newest and end >= len(moment_us)
        )

    def end(self) -> "Neighbourhood":
        """Return a copy of what decides on the slots that readings after the newest one can change.

        It is one slot more, so that readings that come a little late find their neighbours too.
        """
        moment_us = self.readings.moment_us
        start_us = self._start_us(len(moment_us), int(moment_us[-1]) + 1) - SLOT_US
        first = max(int(moment_us.searchsorted(start_us)) - BESIDE, 0)
        return Neighbourhood(self.readings[first:].copy(), self.from_oldest and first == 0, to_newest=True)


def spans(readings: Readings) -> list[Span]:
    """Return the span of each ship; the readings are sorted by ship and time."""
    first = starts(readings.ship).nonzero()[0]
    last = np.append(first[1:], [len(readings)]) - 1
    moment_us = readings.moment_us
    columns = zip(readings.ship[first].tolist(), moment_us[first].tolist(), moment_us[last].tolist(), strict=True)
    return [Span(*column) for column in columns]


def windows(near: Mapping[int, Neighbourhood]) -> ShipWindows:
    """Return the `Neighbourhood.window_s` of each ship; the ships are in ascending order."""
    return ShipWindows.from_rows([(ship, *each.window_s()) for ship, each in near.items()])


def read_neighbourhoods(wanted: Sequence[Span], read: Read) -> dict[int, Neighbourhood]:
    """Read the readings that decide on the slots that new ones can change; return them under their ship.

    What is read grows until it is enough. One read mostly is, and three always are.

    Args:
        wanted: in ascending order of the ship, no ship twice.
        read: reads ranges of all ships at once.

    """
    found: dict[int, Neighbourhood] = {}
    ranges = {span: (span.first_us, span.last_us + 1, LEAST_BEFORE, LEAST_AFTER) for span in wanted}
    while ranges:
        found |= _read(ranges, read, found)
        ranges = {span: _wider(span, near) for span in ranges if not _is_enough(span, near := found[span.ship])}
    around = [(span, found[span.ship]) for span in wanted]
    return {span.ship: near.cut(near.start_us(span), near.end_us(span)) for span, near in around}


_Range = tuple[int, int, int, int]
"""start_us, end_us, before, after: see `ReadingRanges`."""


def _is_enough(span: Span, near: Neighbourhood) -> bool:
    return near.has_before(span) and near.has_after(span)


def _wider(span: Span, near: Neighbourhood) -> _Range:
    """Return the range to read next; a side that is complete does not grow."""
    moment_us = near.readings.moment_us
    start_us, before = near.start_us(span), BESIDE
    if near.has_before(span):
        start_us, before = min(span.first_us, int(moment_us[0])), 0
    end_us, after = near.end_us(span), LEAST_AFTER
    if near.has_after(span):
        end_us, after = max(span.last_us, int(moment_us[-1])) + 1, 0
    return start_us, end_us, before, after


def _read(ranges: Mapping[Span, _Range], read: Read, known: Mapping[int, Neighbourhood]) -> dict[int, Neighbourhood]:
    """Read ranges; of ships that were read before it is known whether a side is complete."""
    readings = read(ReadingRanges.from_rows([(span.ship, *each) for span, each in ranges.items()]))
    ends = np.searchsorted(readings.ship, [span.ship for span in ranges], side="right").tolist()
    found: dict[int, Neighbourhood] = {}
    for (span, (start_us, end_us, before, after)), first, end in zip(
        ranges.items(), [0, *ends[:-1]], ends, strict=True
    ):
        own, last = readings[first:end], known.get(span.ship)
        n_before = int(own.moment_us.searchsorted(start_us))
        n_after = len(own) - int(own.moment_us.searchsorted(end_us))
        found[span.ship] = Neighbourhood(
            own,
            from_oldest=n_before < before or (last is not None and last.from_oldest),
            to_newest=n_after < after or (last is not None and last.to_newest),
        )
    return found
