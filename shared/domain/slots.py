"""Slots: quarters of an hour in UTC, half-open, named by their start. Their energy as columns, and windows of them."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from shared.domain.columns import F64, I64, Bools, Columns
from shared.domain.timestamps import US_PER_S

SLOT_S = 900
SLOT_US = SLOT_S * US_PER_S
DEFAULT_MAX_GAP_US = 24 * 3600 * US_PER_S
"""The longest gap to the next reading that a reading covers, unless `POWER_MAX_GAP_S` says otherwise."""
LONGEST_US = 31 * DEFAULT_MAX_GAP_US
"""The longest gap that may be set or stated, and that of counters; also the longest duration."""
END_S = 2**24 * SLOT_S
"""The end of a window that is open, seconds since 1970: in the year 2448, and no slot starts after 2200."""


@dataclass(frozen=True, slots=True, eq=False)
class Slots(Columns):
    """Columns of equal length n; what a function returns is sorted by ship and time unless it says otherwise.

    Attributes:
        ship: `spaceship_id`, int64[n].
        start_s: the slot's start, seconds since 1970 in UTC, a multiple of 900, int64[n].
        kwh: energy, float64[n].
        covered_s: seconds that readings speak for, 0 to 900, float64[n]; 0 says that the slot does not exist.
        provisional: whether the ship's next reading will change it, bool[n].
        estimated_s: seconds of its cover that are known only by bridging a long time, float64[n].

    """

    row = np.dtype("i8, i8, f8, f8, ?, f8")

    ship: I64
    start_s: I64
    kwh: F64
    covered_s: F64
    provisional: Bools
    estimated_s: F64

    def __getitem__(self, rows: slice | I64 | Bools) -> Self:
        """See `Columns`; written out, which is faster for few rows."""
        return type(self)(
            self.ship[rows],
            self.start_s[rows],
            self.kwh[rows],
            self.covered_s[rows],
            self.provisional[rows],
            self.estimated_s[rows],
        )

    def emptied(self) -> Self:
        """Return the same slots without energy and cover."""
        n = len(self)
        return type(self)(self.ship, self.start_s, np.zeros(n), np.zeros(n), np.zeros(n, np.bool_), np.zeros(n))


def count_slots(moment_us: I64, max_gap_us: int, duration_us: I64 | None = None, *, looks_back: bool = False) -> int:
    """Return how many slots one ship's readings give energy to if there are no others; it may be a few too many.

    Args:
        moment_us: at least one, ascending.
        max_gap_us: the longest gap that they bridge; at least one slot.
        duration_us: how long each speaks, 0 where that is not stated; None if it is nowhere.
        looks_back: whether they speak for the time before them.

    """
    if looks_back:  # the same in a mirror
        return count_slots(-moment_us[::-1], max_gap_us, None if duration_us is None else duration_us[::-1])
    slot, step_us = moment_us // SLOT_US, np.diff(moment_us)
    is_bridged = step_us <= max_gap_us
    spoken_us = np.append(SLOT_US, np.where(is_bridged, step_us, SLOT_US))
    is_joined = is_bridged
    if duration_us is not None:
        is_joined = np.where(duration_us[:-1] > 0, step_us <= duration_us[:-1], is_bridged)
        spoken_us = np.where(duration_us > 0, duration_us, spoken_us)
    ends = np.append(np.flatnonzero(~is_joined), len(moment_us) - 1)  # before a longer silence, and the last one
    after_ends = (moment_us[ends] + spoken_us[ends] - 1) // SLOT_US - slot[ends]
    return int(np.diff(slot)[is_joined].sum() + after_ends.sum()) + len(ends)


def slot_floor_us(us: int) -> int:
    """Return the start of the slot that a timestamp is in."""
    return us - us % SLOT_US


def slot_ceil_us(us: int) -> int:
    """Return the first slot edge at or after a timestamp."""
    return -(-us // SLOT_US) * SLOT_US


@dataclass(frozen=True, slots=True)
class Window:
    """The slots that start in ``[start_s, end_s)``, seconds since 1970; None leaves that side open."""

    start_s: int | None = None
    end_s: int | None = None

    def bounds_s(self) -> tuple[int, int]:
        """Return both bounds; 0 and `END_S` are those of an open window."""
        return self.start_s or 0, END_S if self.end_s is None else self.end_s

    def cut_to(self, other: "Window") -> "Window":
        """Return the part that two windows share."""
        starts_s = [each for each in (self.start_s, other.start_s) if each is not None]
        ends_s = [each for each in (self.end_s, other.end_s) if each is not None]
        start_s, end_s = max(starts_s, default=None), min(ends_s, default=None)
        return NOWHEN if start_s is not None and end_s is not None and end_s < start_s else Window(start_s, end_s)

    @classmethod
    def around(cls, start_us: int | None, end_us: int | None) -> "Window":
        """Widen ``[start, end)`` to whole slots; an empty window stays empty."""
        start_s = None if start_us is None else slot_floor_us(start_us) // US_PER_S
        if end_us is not None and end_us == start_us:
            return cls(start_s, start_s)
        return cls(start_s, None if end_us is None else slot_ceil_us(end_us) // US_PER_S)


@dataclass(frozen=True, slots=True, eq=False)
class ShipWindows(Columns):
    """One window of slots for each of n ships.

    Attributes:
        ship: ascending, no ship twice, int64[n].
        start_s: the start of the first slot, seconds since 1970, int64[n].
        end_s: the start of the first slot that is not in the window any more, `END_S` if it is open, int64[n].

    """

    row = np.dtype("i8, i8, i8")

    ship: I64
    start_s: I64
    end_s: I64


NOWHEN = Window(0, 0)
"""An empty window."""
