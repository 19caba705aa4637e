"""Makes the readings of a file: moments in UTC, sorted, with an unknown one wherever a row is left out."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from power_cli.importing.faults import Faults
from power_cli.importing.local import in_utc
from power_cli.importing.lost import lost_rows, unknown
from power_cli.importing.rows import Rows
from power_cli.importing.wanted import Wanted
from shared.contract.limits import MAX_DURATION_S
from shared.domain.columns import F64, I64, Bools, Columns, starts
from shared.domain.timestamps import US_PER_S, iso

MAX_DURATION_US = MAX_DURATION_S * US_PER_S


@dataclass(frozen=True, slots=True, eq=False)
class Series(Columns):
    """The readings of a file by ship and time; no moment of a ship comes twice.

    Attributes:
        line: where each was read, int64[n].
        ship: int64[n].
        moment_us: microseconds since 1970 in UTC, int64[n].
        value: NaN where it is unknown, float64[n].
        duration_us: how long it speaks, 0 where the file does not tell, int64[n].

    """

    row = np.dtype("i8, i8, i8, f8, i8")

    line: I64
    ship: I64
    moment_us: I64
    value: F64
    duration_us: I64


class Checks(NamedTuple):
    """What was noticed while the readings were made.

    Attributes:
        twice: rows with the same moment that do not agree, as text.
        have_other_values: whether any of these have other values.
        overlaps: rows whose intervals overlap, as text.
        repeats: how many rows say what another one says, too.
        missing: how many values are missing in the file.

    """

    twice: list[str]
    have_other_values: bool
    overlaps: list[str]
    repeats: int
    missing: int


def make_series(rows: Rows, wanted: Wanted, faults: Faults) -> tuple[Series, Checks]:
    """Make the readings; rows that are left out now are added to `faults`."""
    is_doubtful = in_utc(rows, wanted, faults)
    has_end = rows.end_us > 0
    duration_us = np.where(has_end & rows.has_moment, rows.end_us - rows.start_us, 0)
    rows.leave_out(has_end & rows.has_moment & (duration_us <= 0), "its interval ends before it begins", faults)
    rows.leave_out(duration_us > MAX_DURATION_US, "its interval lasts longer than 31 days", faults)
    duration_us[np.isnan(rows.value)] = 0
    missing = int(np.count_nonzero(np.isnan(rows.value) & ~rows.is_left_out))
    lost = (
        [] if has_end.any() else list(lost_rows(rows, looks_back=wanted.stamp == "end"))
    )  # an interval speaks for no more than itself
    order = _order(rows)
    rows, duration_us, is_doubtful = rows[order], duration_us[order], is_doubtful[order]
    is_last = _last(rows.ship, rows.start_us)
    pairs = np.flatnonzero(~is_last & ~rows.is_left_out)
    twice, have_other_values = _twice(rows, pairs, duration_us, is_doubtful)
    series = Series(rows.line, rows.ship, rows.start_us, rows.value, duration_us)[is_last]
    overlaps = _overlaps(series)
    checks = Checks(twice, have_other_values, overlaps, len(pairs) - len(twice), missing)
    return _with_unknown(series, unknown(lost, _usual_us(series))), checks


def _order(rows: Rows) -> I64 | slice:
    """Return the order of the rows with a moment: by ship and moment, those that are left out first."""
    same, step_us = np.diff(rows.ship), np.diff(rows.start_us)
    if rows.has_moment.all() and ((same > 0) | ((same == 0) & (step_us > 0))).all():
        return slice(None)  # as most files are; sorting takes twice the memory
    kept = np.flatnonzero(rows.has_moment)
    keys = (rows.line[kept], ~rows.is_left_out[kept], rows.start_us[kept], rows.ship[kept])
    return kept[np.lexsort(keys)]


def _last(ship: I64, moment_us: I64) -> Bools:
    """Return which rows, by ship and moment, are the last of theirs."""
    return np.roll(starts(ship, moment_us), -1) if len(ship) else np.zeros(0, np.bool_)


def _twice(rows: Rows, pairs: I64, duration_us: I64, is_doubtful: Bools) -> tuple[list[str], bool]:
    """Compare rows of the same moment, each with the one behind it; say which do not agree."""
    one, other = rows[pairs], rows[pairs + 1]
    is_equal = (one.value == other.value) | (np.isnan(one.value) & np.isnan(other.value))
    is_equal &= duration_us[pairs] == duration_us[pairs + 1]
    is_wrong = ~is_equal | is_doubtful[pairs]
    columns = (one.line, other.line, one.start_us, one.value, other.value)
    said = [
        f"lines {min(a, b)} and {max(a, b)} ({iso(us)}: {_shown(x)} and {_shown(y)})"
        for a, b, us, x, y in zip(*(column[is_wrong].tolist() for column in columns), strict=True)
    ]
    return said, not bool(is_equal.all())


def _shown(value: float) -> str:
    return "unknown" if np.isnan(value) else f"{value:g}"


def _overlaps(series: Series) -> list[str]:
    end_us = series.moment_us + series.duration_us
    over = np.flatnonzero((end_us[:-1] > series.moment_us[1:]) & (series.ship[1:] == series.ship[:-1]))
    lines = zip(series.line[over].tolist(), series.line[over + 1].tolist(), strict=True)
    return [f"lines {min(pair)} and {max(pair)}" for pair in lines if pair[0] != pair[1]]


def _usual_us(series: Series) -> int:
    step_us = np.diff(series.moment_us)[series.ship[1:] == series.ship[:-1]]
    return int(np.median(step_us)) if len(step_us) else 0


def _with_unknown(series: Series, more: I64) -> Series:
    """Add unknown readings where the file has none."""
    if not len(more):
        return series
    nothing = np.full(len(more), np.nan), np.zeros(len(more), np.int64)
    both = Series.concat([Series(more[:, 2], more[:, 0], more[:, 1], *nothing), series])
    both = both[np.lexsort((np.arange(len(both)), both.moment_us, both.ship))]
    return both[_last(both.ship, both.moment_us)]
