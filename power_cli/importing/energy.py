"""The energy of a file's readings by the service's rule, and whether its values look like a meter's."""

import numpy as np

from normalizer_worker.rule.intervals import intervals
from power_cli.importing.content import Content
from power_cli.importing.series import Series
from shared.contract.kinds import in_kilo
from shared.domain.columns import F64
from shared.domain.readings import Kind, Readings, Stated
from shared.domain.slots import LONGEST_US

PART = 500_000
FEWEST_RISES = 2
SMALL = 0.1
"""A meter's rises are less than this share of what it shows; so is what it shows after a reset."""


def total_kwh(content: Content) -> float:
    """Return the energy of a file's readings, if the service has no others."""
    series, kind = content.series, content.kind
    value = in_kilo(series.value, content.understanding.units)
    if kind is Kind.COUNTER_KWH:
        rise, step_us = np.diff(value), np.diff(series.moment_us)
        with np.errstate(invalid="ignore"):
            counts = (rise > 0) & (series.ship[1:] == series.ship[:-1]) & (step_us <= LONGEST_US)
        return float(rise[counts].sum())
    max_gap_us = content.wanted.rules.max_gap_us
    return sum(_part_kwh(series, value, kind, begin, max_gap_us) for begin in range(0, len(value), PART))


def _part_kwh(series: Series, value: F64, kind: Kind, begin: int, max_gap_us: int) -> float:
    """Return the energy of some readings; the one before and the one behind them only say for how long they speak."""
    first, end = max(begin - 1, 0), begin + PART + 1
    some, known = series[first:end], value[first:end].copy()
    is_unknown = np.isnan(known)
    known[: begin - first] *= 0
    known[begin + PART - first :] *= 0
    stated = Stated(np.where(is_unknown, 0, some.duration_us), np.zeros(len(some), np.int64), np.zeros(len(some)))
    readings = Readings(
        *(some.ship, some.moment_us, known),
        np.where(is_unknown, Kind.UNKNOWN, kind).astype(np.int8),
        np.zeros(len(some), np.int64),
        stated if stated.duration_us.any() else None,
    )
    spoken = intervals(readings, max_gap_us)
    return float((spoken.value * spoken.length_us / spoken.per_us).sum())


def looks_like_a_meter(series: Series) -> bool:
    """Return whether the values rise like those of a meter, apart from resets."""
    same = series.ship[1:] == series.ship[:-1]
    with np.errstate(invalid="ignore"):
        rise, before, after = np.diff(series.value)[same], series.value[:-1][same], series.value[1:][same]
        rises, falls = rise[rise > 0], int(np.count_nonzero(rise < 0))
        resets = int(np.count_nonzero((rise < 0) & (after < SMALL * before)))
    if len(rises) < FEWEST_RISES or falls != resets or 2 * resets > len(rises):
        return False
    return float(np.median(rises)) < SMALL * float(np.nanmax(series.value))
