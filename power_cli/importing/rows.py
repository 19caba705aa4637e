"""The values of a file before their timestamps are in UTC: one row per value."""

from dataclasses import dataclass

import numpy as np

from power_cli.importing.faults import Faults
from shared.domain.columns import F64, I64, Bools, Columns

NO_SHIP = -1


@dataclass(frozen=True, slots=True, eq=False)
class Rows(Columns):
    """n values of a file, in its order.

    Attributes:
        line: where it is, int64[n].
        ship: `NO_SHIP` where it is not known, int64[n].
        start_us: the timestamp, in local time where `is_local`, int64[n].
        end_us: the end of its interval, in local time too, 0 where the file states none, int64[n].
        is_local: whether the timestamp has no offset, bool[n].
        value: NaN where it is missing, or left out, float64[n].
        has_moment: whether the timestamp is known, bool[n].
        is_left_out: whether the row is bad, bool[n].

    """

    row = np.dtype("i8, i8, i8, i8, ?, f8, ?, ?")

    line: I64
    ship: I64
    start_us: I64
    end_us: I64
    is_local: Bools
    value: F64
    has_moment: Bools
    is_left_out: Bools

    @classmethod
    def lost(cls, lines: list[int], ship: int) -> "Rows":
        """Return rows of which nothing is known."""
        return cls.from_rows((line, ship, 0, 0, False, np.nan, False, True) for line in lines)

    def leave_out(self, is_wrong: Bools, why: str, faults: Faults) -> None:
        """Leave out rows that are not left out yet; their timestamps stay."""
        is_wrong = is_wrong & ~self.is_left_out
        for line in self.line[is_wrong].tolist():
            faults.add(line, why)
        self.is_left_out[is_wrong] = True
        self.value[is_wrong] = np.nan
