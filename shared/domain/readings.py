"""Readings as columns: one numpy array per property, one row per reading, of as many ships as one likes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

MAX_SHIP = 2**53 - 1
"""The greatest `spaceship_id`: the integers that every JSON reader keeps exactly."""


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Columns of equal length n.

    Attributes:
        ship: `spaceship_id`, int64[n].
        moment_us: microseconds since 1970 in UTC, int64[n].
        value: kW, or kWh where `is_energy`, float64[n].
        is_energy: the unit, bool[n]: kWh where true, kW where false.
        sent_at_us: when its batch was sent, microseconds since 1970, int64[n].

    """

    ship: I64
    moment_us: I64
    value: F64
    is_energy: Bools
    sent_at_us: I64

    def __len__(self) -> int:
        """Count the readings."""
        return len(self.moment_us)

    def __getitem__(self, rows: slice | I64 | Bools) -> Self:
        """Take rows: a slice, a mask, or positions."""
        return type(self)(
            self.ship[rows], self.moment_us[rows], self.value[rows], self.is_energy[rows], self.sent_at_us[rows]
        )

    def copy(self) -> Self:
        """Copy the columns, so that they no longer keep a larger array alive."""
        return type(self)(
            self.ship.copy(), self.moment_us.copy(), self.value.copy(), self.is_energy.copy(), self.sent_at_us.copy()
        )

    def of_group(self, group: I64) -> Self:
        """Put other numbers in the place of the ships, to keep several extracts of one ship apart."""
        return type(self)(group, self.moment_us, self.value, self.is_energy, self.sent_at_us)

    @classmethod
    def concat(cls, parts: Sequence["Readings"]) -> Self:
        """Put several after one another."""
        if not parts:
            return cls.from_rows([])
        return cls(
            np.concatenate([part.ship for part in parts]),
            np.concatenate([part.moment_us for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.is_energy for part in parts]),
            np.concatenate([part.sent_at_us for part in parts]),
        )

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[int, int, float, bool, int]]) -> Self:
        """Build the columns from rows of (ship, moment_us, value, is_energy, sent_at_us)."""
        ship, moment_us, value, is_energy, sent_at_us = zip(*rows, strict=True) if rows else ((),) * 5
        return cls(
            np.array(ship, np.int64),
            np.array(moment_us, np.int64),
            np.array(value, np.float64),
            np.array(is_energy, np.bool_),
            np.array(sent_at_us, np.int64),
        )
