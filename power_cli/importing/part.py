"""What the cells of some rows say, as columns of numbers."""

from typing import TYPE_CHECKING

import numpy as np

from power_cli.importing.faults import Faults
from power_cli.importing.frames import cells, stamp_texts
from power_cli.importing.intervals import DayColumns
from power_cli.importing.numbers import read_numbers
from power_cli.importing.rows import NO_SHIP, Rows
from power_cli.importing.stamps import DAY_US, Stamps, fault, read_stamps
from power_cli.importing.understanding import Understanding
from power_cli.importing.wanted import Wanted, shown
from shared.contract.kinds import most_of
from shared.domain.columns import F64, I64, Bools
from shared.domain.readings import MAX_SHIP

if TYPE_CHECKING:
    import pandas as pd


class Part:
    """Some rows of a file."""

    def __init__(self, understood: Understanding, wanted: Wanted, faults: Faults, frame: "pd.DataFrame") -> None:
        """Begin.

        Args:
            understood: what the columns mean.
            wanted: the options.
            faults: gets the rows that are left out.
            frame: the cells.

        """
        self._understood = understood
        self._wanted = wanted
        self._faults = faults
        self._frame = frame

    def rows(self, line: I64, counts: I64) -> Rows:
        """Return the rows; one with a fault has no value, and the timestamp only if that can be read.

        Args:
            line: of each row, int64[n].
            counts: how many cells each has, int64[n].

        """
        columns, style = self._understood.columns, self._understood.style
        texts = stamp_texts(self._frame, columns.time)
        start = read_stamps(texts, style)
        rows = Rows(
            *(line, self._ships(), start.us, np.zeros(len(line), np.int64), start.is_local),
            *(np.full(len(line), np.nan), start.is_good, np.zeros(len(line), np.bool_)),
        )
        too_short = counts < columns.needed
        for count in np.unique(counts[too_short]).tolist():
            why = f"cells are missing: there are {count}, at least {columns.needed} are needed"
            rows.leave_out(counts == count, why, self._faults)
        self._name(rows, ~start.is_good, texts)
        if columns.ship is not None:
            for row in np.flatnonzero((rows.ship == NO_SHIP) & ~rows.is_left_out).tolist():
                text = shown(str(self._frame[columns.ship].iloc[row]))
                self._leave_out(rows, row, f"ship is not a whole number: {text}")
            rows.has_moment[rows.ship == NO_SHIP] = False  # it is nobody's
        if columns.days is not None:
            return self._days(rows, columns.days)
        self._add_ends(rows, start)
        rows.value[:], reasons = self._values(columns.value[0], rows.is_left_out)
        self._leave_out_all(rows, reasons)
        return rows

    def _ships(self) -> I64:
        at = self._understood.columns.ship
        if at is None:
            return np.full(len(self._frame), self._wanted.ship, np.int64)
        return np.array([_ship(text) for text in cells(self._frame, at)], np.int64)

    def _name(self, rows: Rows, is_wrong: Bools, texts: list[str], of_what: str = "") -> None:
        """Leave out rows whose timestamp cannot be read."""
        for row in np.flatnonzero(is_wrong & ~rows.is_left_out).tolist():
            self._leave_out(rows, row, of_what + fault(texts[row], self._understood.style))

    def _leave_out(self, rows: Rows, row: int, why: str) -> None:
        self._faults.add(int(rows.line[row]), why)
        rows.is_left_out[row] = True
        rows.value[row] = np.nan

    def _leave_out_all(self, rows: Rows, why: dict[int, str]) -> None:
        for row, reason in why.items():
            self._leave_out(rows, row, reason)

    def _add_ends(self, rows: Rows, start: Stamps) -> None:
        """Add where the intervals end: in a column of their own, or with the day that a date alone names."""
        columns, style = self._understood.columns, self._understood.style
        if columns.end:
            texts = stamp_texts(self._frame, columns.end)
            end = read_stamps(texts, style)
            self._name(rows, ~end.is_good | (end.is_local != start.is_local), texts, "the end of its interval, ")
            # With one date for both, 00:00 is the end of the day.
            is_next_day = (end.us <= start.us) & (len(columns.end) > 1)
            rows.end_us[:] = end.us + is_next_day * DAY_US
        elif style.is_day and self._wanted.stamp is None and not self._wanted.counter:
            rows.end_us[:] = start.us + DAY_US

    def _days(self, rows: Rows, days: DayColumns) -> Rows:
        """Return a row for each interval of each day; of a day that cannot be read one row is enough."""
        parts = []
        for at, offset_us in zip(days.columns, days.start_us, strict=True):
            value, why = self._values(at, rows.is_left_out)
            start_us = rows.start_us + offset_us
            part = Rows(
                *(rows.line, rows.ship, start_us, start_us + days.length_us, rows.is_local),
                *(value, rows.has_moment, rows.is_left_out.copy()),
            )
            self._leave_out_all(part, why)
            parts.append(part)
        found = Rows.concat(parts)
        found = found[np.argsort(np.tile(np.arange(len(rows)), len(parts)), kind="stable")]
        is_first = np.arange(len(found)) % len(parts) == 0
        return found[found.has_moment | is_first]

    def _values(self, at: int, is_left_out: Bools) -> tuple[F64, dict[int, str]]:
        """Return the values of a column, and why those are not valid that are not left out already."""
        texts = cells(self._frame, at)
        value, is_bad = read_numbers(texts, self._understood.mark)
        rules = self._wanted.rules
        most = most_of(self._understood.units, rules.max_kw)
        with np.errstate(invalid="ignore"):
            is_beyond, is_negative = np.abs(value) > most, (value < 0) & (not rules.allow_negative)
        why = {}
        for row in np.flatnonzero((is_bad | is_beyond | is_negative) & ~is_left_out).tolist():
            reason = f"is beyond {most:g}" if is_beyond[row] else "is negative, --allow-negative accepts it"
            why[row] = f"value {_no_number(texts[row]) if is_bad[row] else reason}: {shown(texts[row])}"
        return np.where(is_left_out, np.nan, value), why


def _no_number(text: str) -> str:
    is_infinite = text.casefold().lstrip("+-") in ("inf", "infinity")
    return "is not a finite number" if is_infinite else "is not a number"


def _ship(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_SHIP))
    return int(text) if is_number and int(text) <= MAX_SHIP else NO_SHIP
