"""Readings of any number of ships as columns: one numpy array per property, one row per reading."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shared.domain.columns import F64, I8, I64, Bools, Columns

MAX_SHIP = 2**53 - 1
"""The greatest `spaceship_id`: every JSON reader keeps integers up to here exactly."""


class Kind(IntEnum):
    """What a reading's value means, and for which time it speaks (docs/rule.md).

    The numbers are an order: of two readings with equal timestamp and `sent_at`, the one of the greater kind counts.
    The stores write `label` and `unit`; only packs (`shared/store/packs.py`) hold the numbers, so each keeps its own.
    """

    POWER_KW = 0
    """Constant power from this reading to the next one."""
    ENERGY_KWH = 1
    """Energy used from this reading to the next one."""
    LINE_KW = 2
    """Power that changes evenly from this reading to the next one."""
    MEAN_KW = 3
    """Constant power from the reading before to this one."""
    END_KWH = 4
    """Energy used from the reading before to this one."""
    COUNTER_KWH = 5
    """What a meter shows: energy is the difference to the next one."""
    UNKNOWN = 6
    """No value: it ends the reading before it. Its value is NaN."""

    @property
    def label(self) -> str:
        """The name of the kind in the stores."""
        return _LABELS[self][0]

    @property
    def unit(self) -> str:
        """The unit of the value in the stores."""
        return _LABELS[self][1]

    @classmethod
    def of_label(cls, label: str) -> "Kind":
        """Return the kind of a label.

        Raises:
            KeyError: there is none.

        """
        return _KINDS[label]


_LABELS = {
    Kind.POWER_KW: ("held", "kW"),
    Kind.ENERGY_KWH: ("energy", "kWh"),
    Kind.LINE_KW: ("line", "kW"),
    Kind.MEAN_KW: ("mean", "kW"),
    Kind.END_KWH: ("energy_end", "kWh"),
    Kind.COUNTER_KWH: ("counter", "kWh"),
    Kind.UNKNOWN: ("unknown", "kW"),
}
PLAIN = (Kind.POWER_KW, Kind.ENERGY_KWH)
"""The kinds that the unit tells."""
_KINDS = {label: kind for kind, (label, _) in _LABELS.items()}
UNITS = np.array([kind.unit for kind in Kind])
"""The unit of each kind, by its number: ``UNITS[readings.kind]``."""
IS_POWER, LOOKS_BACK = (
    np.isin(np.arange(len(Kind)), kinds)
    for kinds in ([Kind.POWER_KW, Kind.LINE_KW, Kind.MEAN_KW], [Kind.MEAN_KW, Kind.END_KWH])
)
"""By the number of the kind: whether it is power, and whether it speaks for the time before its timestamp."""

ReadingRow = tuple[int, int, float, int, int, int, int, float]
"""One reading: its columns in the order of `Readings`."""


@dataclass(frozen=True, slots=True, eq=False)
class Stated(Columns):
    """What n readings state besides their values, 0 where that is not stated: columns of equal length n.

    Attributes:
        duration_us: how long a reading speaks, int64[n].
        max_gap_us: the longest time to its neighbour that it bridges, int64[n].
        rollover: the first value that the meter cannot show, float64[n].

    """

    row = np.dtype("i8, i8, f8")

    duration_us: I64
    max_gap_us: I64
    rollover: F64

    @classmethod
    def nothing(cls, n: int) -> Self:
        """Return n rows that state nothing."""
        return cls(np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n))


@dataclass(frozen=True, slots=True, eq=False)
class Readings(Columns):
    """Columns of equal length n.

    Attributes:
        ship: `spaceship_id`, int64[n].
        moment_us: the timestamp, microseconds since 1970 in UTC, int64[n].
        value: in the unit of its kind, float64[n].
        kind: a `Kind`, int8[n].
        sent_at_us: when its batch was sent, microseconds since 1970 in UTC, int64[n].
        stated: what they state besides; None if that is nothing, which is quicker and takes no memory.

    """

    row = np.dtype("i8, i8, f8, i1, i8, i8, i8, f8")

    ship: I64
    moment_us: I64
    value: F64
    kind: I8
    sent_at_us: I64
    stated: Stated | None = None

    def __getitem__(self, rows: slice | I64 | Bools) -> Self:
        """See `Columns`; written out, which is faster for few rows."""
        return type(self)(
            self.ship[rows],
            self.moment_us[rows],
            self.value[rows],
            self.kind[rows],
            self.sent_at_us[rows],
            None if self.stated is None else self.stated[rows],
        )

    def what_is_stated(self) -> Stated:
        """Return `stated`, or zeros."""
        return Stated.nothing(len(self)) if self.stated is None else self.stated

    def copy(self) -> Self:
        """Copy the columns, so that they no longer keep a larger array in memory."""
        return type(self)(
            self.ship.copy(),
            self.moment_us.copy(),
            self.value.copy(),
            self.kind.copy(),
            self.sent_at_us.copy(),
            None if self.stated is None else Stated(*[column.copy() for column in self.stated.columns()]),
        )

    def columns(self) -> list[NDArray[Any]]:
        """Return all columns, in the order of a `ReadingRow`."""
        plain: list[NDArray[Any]] = [self.ship, self.moment_us, self.value, self.kind, self.sent_at_us]
        return plain + self.what_is_stated().columns()

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join several into one, in their order."""
        if not parts:
            return cls.from_rows([])
        ship, moment_us, value, kind, sent_at_us = (
            np.concatenate(list(map(attrgetter(name), parts))) for name in _PLAIN_COLUMNS
        )
        stated = None
        if any(each.stated is not None for each in parts):
            stated = Stated.concat([each.what_is_stated() for each in parts])
        return cls(ship, moment_us, value, kind, sent_at_us, stated)

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[Any, ...]]) -> Self:
        """Build the columns from rows."""
        table = np.fromiter(rows, cls.row)
        columns = [table[name].copy() for name in cls.row.names or ()]
        ship, moment_us, value, kind, sent_at_us, *stated = columns
        is_stated = any(map(np.count_nonzero, stated))
        return cls(ship, moment_us, value, kind, sent_at_us, Stated(*stated) if is_stated else None)


_PLAIN_COLUMNS = ("ship", "moment_us", "value", "kind", "sent_at_us")


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
