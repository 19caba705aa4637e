"""Readings of any number of ships as columns: one numpy array per property, one row per reading."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Self

import numpy as np

from shared.domain.columns import F64, I8, I64, Bools, Columns

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
class Readings(Columns):
    """Columns of equal length n.

    Attributes:
        ship: `spaceship_id`, int64[n].
        moment_us: the timestamp, microseconds since 1970 in UTC, int64[n].
        value: in the unit of its kind, float64[n].
        kind: a `Kind`, int8[n].
        sent_at_us: when its batch was sent, microseconds since 1970 in UTC, int64[n].

    """

    row = np.dtype("i8, i8, f8, i1, i8")

    ship: I64
    moment_us: I64
    value: F64
    kind: I8
    sent_at_us: I64

    def __getitem__(self, rows: slice | I64 | Bools) -> Self:
        """See `Columns`; written out, which is faster for few rows."""
        return type(self)(
            self.ship[rows], self.moment_us[rows], self.value[rows], self.kind[rows], self.sent_at_us[rows]
        )

    def copy(self) -> Self:
        """Copy the columns, so that they no longer keep a larger array in memory."""
        return type(self)(
            self.ship.copy(), self.moment_us.copy(), self.value.copy(), self.kind.copy(), self.sent_at_us.copy()
        )


@dataclass(frozen=True, slots=True, eq=False)
class ReadingRanges(Columns):
    """One range of readings for each of n ships: all in ``[start, end)``, and some before and after it.

    Attributes:
        ship: ascending, no ship twice, int64[n].
        start_us: microseconds since 1970, int64[n].
        end_us: microseconds since 1970, not less than `start_us`, int64[n].
        before: the number of readings before `start_us` that are wanted, int64[n].
        after: the number of readings from `end_us` on that are wanted, int64[n].

    """

    row = np.dtype("i8, i8, i8, i8, i8")

    ship: I64
    start_us: I64
    end_us: I64
    before: I64
    after: I64
