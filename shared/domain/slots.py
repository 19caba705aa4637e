"""Slots: quarters of an hour in UTC, half-open, named by their start; and their energy as columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from shared.domain.readings import F64, I64, Bools
from shared.domain.timestamps import US_PER_S

SLOT_S = 900
SLOT_US = SLOT_S * US_PER_S


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """Columns of equal length n, in the order of ship and time where a function gives them.

    Attributes:
        ship: `spaceship_id`, int64[n].
        start_s: the slot's start, seconds since 1970 in UTC, a multiple of 900, int64[n].
        kwh: energy, float64[n].
        covered_s: seconds that readings speak for, 0 to 900, float64[n]; 0 says that the slot does not exist.
        provisional: whether the ship's newest reading is part of it, bool[n].

    """

    ship: I64
    start_s: I64
    kwh: F64
    covered_s: F64
    provisional: Bools

    def __len__(self) -> int:
        """Count the slots."""
        return len(self.start_s)

    def __getitem__(self, rows: slice | I64 | Bools) -> Self:
        """Take rows: a slice, a mask, or positions."""
        return type(self)(
            self.ship[rows], self.start_s[rows], self.kwh[rows], self.covered_s[rows], self.provisional[rows]
        )

    def emptied(self) -> Self:
        """Give the same slots with nothing in them."""
        n = len(self)
        return type(self)(self.ship, self.start_s, np.zeros(n), np.zeros(n), np.zeros(n, np.bool_))

    @classmethod
    def concat(cls, parts: Sequence["Slots"]) -> Self:
        """Put several after one another."""
        parts = [no_slots(), *parts]
        return cls(
            np.concatenate([part.ship for part in parts]),
            np.concatenate([part.start_s for part in parts]),
            np.concatenate([part.kwh for part in parts]),
            np.concatenate([part.covered_s for part in parts]),
            np.concatenate([part.provisional for part in parts]),
        )


def count_slots(moment_us: I64, max_gap_us: int) -> int:
    """Count the slots that one ship's readings make by themselves, or a few more.

    Args:
        moment_us: at least one, ascending.
        max_gap_us: the longest silence that a reading still speaks across, at least one slot.

    """
    slot, step_us = moment_us // SLOT_US, np.diff(moment_us)
    is_joined = step_us <= max_gap_us
    ends = np.append(np.flatnonzero(~is_joined), len(moment_us) - 1)  # before a longer silence, and the last one
    spoken_us = np.append(SLOT_US, np.where(is_joined, step_us, SLOT_US))[ends]
    after_ends = (moment_us[ends] + spoken_us - 1) // SLOT_US - slot[ends]
    return int(np.diff(slot)[is_joined].sum() + after_ends.sum()) + len(ends)


def slot_floor_us(us: int) -> int:
    """Give the start of the slot that holds a moment."""
    return us - us % SLOT_US


def slot_ceil_us(us: int) -> int:
    """Give the first slot edge at or after a moment."""
    return -(-us // SLOT_US) * SLOT_US


@dataclass(frozen=True, slots=True)
class Window:
    """Whole slots from `start_s` to before `end_s`, seconds since 1970; a bound left out (None) is open."""

    start_s: int | None = None
    end_s: int | None = None

    def cut_to(self, other: "Window") -> "Window":
        """Give the part of it that lies in another one."""
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


NOWHEN = Window(0, 0)
"""An empty window."""


def no_slots() -> Slots:
    """Give columns without a row."""
    none = np.zeros(0, np.int64)
    return Slots(none, none, np.zeros(0), np.zeros(0), np.zeros(0, np.bool_))
