"""Readings of any number of ships as columns: one numpy array per property, one row per reading."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int8]
I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

MAX_SHIP = 2**53 - 1
"""The greatest `spaceship_id`: every JSON reader keeps integers up to here exactly."""


class Kind(IntEnum):
    """What a reading's value means.

    The numbers are an order: of two readings with equal timestamp and `sent_at`, the one of the greater kind counts.
    They are not stored: the wire format and the stores write `unit`.
    """

    POWER_KW = 0
    """Constant power from this reading to the next one."""
    ENERGY_KWH = 1
    """Energy used from this reading to the next one."""

    @property
    def unit(self) -> str:
        """The unit of the value, as it is written on the wire and in the stores."""
        return _UNITS[self]

    @classmethod
    def of_unit(cls, unit: str) -> "Kind":
        """Return the kind that is written with a unit.

        Raises:
            KeyError: there is none.

        """
        return _KINDS[unit]


_UNITS = {Kind.POWER_KW: "kW", Kind.ENERGY_KWH: "kWh"}
_KINDS = {unit: kind for kind, unit in _UNITS.items()}
UNITS = np.array([kind.unit for kind in Kind])
"""The unit of each kind, by its number: ``UNITS[readings.kind]``."""

ReadingRow = tuple[int, int, float, int, int]
"""One reading: (ship, moment_us, value, kind, sent_at_us)."""


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """Columns of equal length n.

    Attributes:
        ship: `spaceship_id`, int64[n].
        moment_us: the timestamp, microseconds since 1970 in UTC, int64[n].
        value: in the unit of its kind, float64[n].
        kind: a `Kind`, int8[n].
        sent_at_us: when its batch was sent, microseconds since 1970 in UTC, int64[n].

    """

    ship: I64
    moment_us: I64
    value: F64
    kind: I8
    sent_at_us: I64

    def __len__(self) -> int:
        """Return the number of readings."""
        return len(self.moment_us)

    def __getitem__(self, rows: slice | I64 | Bools) -> Self:
        """Return the rows that a slice, a mask or positions select."""
        return type(self)(
            self.ship[rows], self.moment_us[rows], self.value[rows], self.kind[rows], self.sent_at_us[rows]
        )

    def rows(self) -> Iterator[ReadingRow]:
        """Return the readings one by one."""
        columns = (self.ship, self.moment_us, self.value, self.kind, self.sent_at_us)
        return zip(*(column.tolist() for column in columns), strict=True)

    def copy(self) -> Self:
        """Copy the columns, so that they no longer keep a larger array in memory."""
        return type(self)(
            self.ship.copy(), self.moment_us.copy(), self.value.copy(), self.kind.copy(), self.sent_at_us.copy()
        )

    @classmethod
    def concat(cls, parts: Sequence["Readings"]) -> Self:
        """Join several into one, in their order."""
        if not parts:
            return cls.from_rows([])
        return cls(
            np.concatenate([part.ship for part in parts]),
            np.concatenate([part.moment_us for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.kind for part in parts]),
            np.concatenate([part.sent_at_us for part in parts]),
        )

    @classmethod
    def from_rows(cls, rows: Sequence[ReadingRow]) -> Self:
        """Build the columns from rows."""
        ship, moment_us, value, kind, sent_at_us = zip(*rows, strict=True) if rows else ((),) * 5
        return cls(
            np.array(ship, np.int64),
            np.array(moment_us, np.int64),
            np.array(value, np.float64),
            np.array(kind, np.int8),
            np.array(sent_at_us, np.int64),
        )


@dataclass(frozen=True, slots=True, eq=False)
class ReadingRanges:
    """One range of readings for each of n ships: all in ``[start, end)``, and some before and after it.

    Attributes:
        ship: ascending, no ship twice, int64[n].
        start_us: microseconds since 1970, int64[n].
        end_us: microseconds since 1970, not less than `start_us`, int64[n].
        before: the number of readings before `start_us` that are wanted, int64[n].
        after: the number of readings from `end_us` on that are wanted, int64[n].

    """

    ship: I64
    start_us: I64
    end_us: I64
    before: I64
    after: I64

    def __len__(self) -> int:
        """Return the number of ships."""
        return len(self.ship)

    def rows(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Return (ship, start_us, end_us, before, after) of each ship."""
        columns = (self.ship, self.start_us, self.end_us, self.before, self.after)
        return zip(*(column.tolist() for column in columns), strict=True)

    @classmethod
    def from_rows(cls, rows: Sequence[tuple[int, int, int, int, int]]) -> Self:
        """Build the columns from rows of (ship, start_us, end_us, before, after)."""
        return cls(*np.array(rows, np.int64).reshape(-1, 5).T)
