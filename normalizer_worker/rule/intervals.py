"""What each reading speaks for (docs/rule.md, point 2): the intervals that `normalize.py` cuts into slots. Pure.

A reading speaks for the time up to one of its neighbours. Most look ahead, and means and energies stamped at their end
look back. For these everything is mirrored.
"""

from dataclasses import dataclass

import numpy as np

from shared.domain.columns import F64, I64, Bools, Columns
from shared.domain.readings import IS_POWER, Kind, Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, LONGEST_US, SLOT_US
from shared.domain.timestamps import US_PER_S

LONE_US = SLOT_US
"""How long a reading covers if no other is within its longest gap."""
US_PER_HOUR = 3600 * US_PER_S
LONG_US = US_PER_HOUR
"""Power and counters over a longer time are estimated."""
GROWN = 1.5
"""Energy over more than so many times the time since the reading before is estimated. The product is exact."""
_NEVER_US = 2**62
"""The distance to a neighbour that does not exist."""
# Enums would be compared as int64, which takes longer.
_ENERGY_KWH, _LINE_KW, _MEAN_KW, _END_KWH, _COUNTER_KWH, _UNKNOWN = (
    np.int8(kind)
    for kind in (Kind.ENERGY_KWH, Kind.LINE_KW, Kind.MEAN_KW, Kind.END_KWH, Kind.COUNTER_KWH, Kind.UNKNOWN)
)


@dataclass(frozen=True, slots=True, eq=False)
class Lines(Columns):
    """The straight lines among n intervals.

    Attributes:
        step_us: the time from a line's start to its end, 0 where the interval is not on a line, int64[n].
        end_kw: the power at the line's end, float64[n].

    """

    row = np.dtype("i8, f8")

    step_us: I64
    end_kw: F64


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """The intervals of readings that speak for any time, n of them, by ship and time; none overlap.

    Attributes:
        ship: `spaceship_id`, int64[n].
        start_us: the interval is ``[start, start + length)``, microseconds since 1970, int64[n].
        length_us: more than 0, int64[n].
        value: power or energy, float64[n].
        per_us: the time over which the value is in kWh: an hour for power, int64[n].
        provisional: whether the next reading will change it, bool[n].
        estimated: whether it bridges a long time, bool[n].
        lines: None if there are none.

    """

    ship: I64
    start_us: I64
    length_us: I64
    value: F64
    per_us: I64
    provisional: Bools
    estimated: Bools
    lines: Lines | None = None


def intervals(readings: Readings, max_gap_us: int = DEFAULT_MAX_GAP_US) -> Intervals:
    """Find what each reading speaks for; the readings must be as `latest` gives them."""
    is_plain = readings.stated is None and not np.count_nonzero(readings.kind > _ENERGY_KWH)
    return (_plain if is_plain else _of_any_kind)(readings, max_gap_us)


def _plain(readings: Readings, max_gap_us: int) -> Intervals:
    """Return what `_of_any_kind` does, faster, for held power and energy that state nothing else."""
    ship, moment_us = readings.ship, readings.moment_us
    step_us = moment_us[1:] - moment_us[:-1]
    followed = ship[1:] == ship[:-1]
    joined = followed & (step_us <= max_gap_us)
    length_us = np.full(len(ship), LONE_US)
    length_us[1:] = np.where(joined, step_us, LONE_US)  # the time since the reading before …
    length_us[:-1] = np.where(joined, step_us, length_us[:-1])  # … unless the next one follows
    newest, estimated = np.ones(len(ship), np.bool_), length_us > LONG_US
    np.logical_not(followed, out=newest[:-1])
    is_energy = readings.kind == _ENERGY_KWH
    if np.count_nonzero(is_energy):
        estimated &= ~is_energy
        # More than 1.5 times the time before: twice the growth is more than that time.
        growth_us = step_us[1:] - step_us[:-1]
        growth_us *= 2
        estimated[1:-1] |= is_energy[1:-1] & joined[:-1] & joined[1:] & (growth_us > step_us[:-1])
    estimated[:-1] |= ~joined
    estimated[-1:] = True
    per_us = np.where(is_energy, length_us, US_PER_HOUR)
    return Intervals(ship, moment_us, length_us, readings.value, per_us, newest, estimated)


def _of_any_kind(readings: Readings, max_gap_us: int) -> Intervals:
    kind, since_us, until_us = readings.kind, *_distances_us(readings)
    is_end = kind == _END_KWH
    looks_back = is_end | (kind == _MEAN_KW)
    near_us = _choose(looks_back, since_us, until_us)
    """The distance to the neighbour that it speaks towards."""
    gap_us = longest_gaps_us(readings, max_gap_us)
    is_near = near_us <= gap_us
    spoken_us = near_us.copy()
    alone = (~is_near).nonzero()[0]
    far_us = _choose(looks_back[alone], until_us[alone], since_us[alone])
    spoken_us[alone] = np.where(far_us <= gap_us[alone], far_us, LONE_US)

    value, speaks = _energies(readings, is_near)
    speaks[:-1] &= looks_back[:-1] | ~looks_back[1:] | (until_us[:-1] == _NEVER_US)
    is_energy = kind == _ENERGY_KWH
    is_long = near_us > LONG_US
    is_long &= ~(is_energy | is_end)
    longer = (is_energy & (near_us > since_us)).nonzero()[0]
    is_long[longer] = (since_us[longer] <= gap_us[longer]) & (near_us[longer] > GROWN * since_us[longer])
    estimated = is_long | ~is_near
    newest = np.zeros(len(kind), np.bool_)
    newest[alone] = until_us[alone] == _NEVER_US
    length_us = spoken_us
    if readings.stated is not None:
        is_stated = readings.stated.duration_us > 0
        spoken_us = _choose(is_stated, readings.stated.duration_us, spoken_us)
        length_us = np.minimum(spoken_us, near_us)
        estimated &= ~is_stated
        newest &= ~is_stated
    per_us = _choose(IS_POWER.take(kind), US_PER_HOUR, spoken_us)
    rows = speaks.nonzero()[0]
    return Intervals(
        readings.ship.take(rows),
        (readings.moment_us - length_us * looks_back).take(rows),
        length_us.take(rows),
        value.take(rows),
        per_us.take(rows),
        newest.take(rows),
        estimated.take(rows),
        _lines(readings, is_near, until_us, rows),
    )


def _choose(which: Bools, one: I64 | int, other: I64) -> I64:
    """Return what `np.where` does, in a third of its time where `which` changes from row to row."""
    return other + (one - other) * which


def longest_gaps_us(readings: Readings, max_gap_us: int) -> I64:
    """Return the longest time to its neighbour that each reading bridges."""
    by_kind = np.full(len(Kind), max_gap_us)
    by_kind[_COUNTER_KWH] = LONGEST_US
    usual_us = by_kind.take(readings.kind)
    stated = readings.stated
    if stated is None or not np.count_nonzero(stated.max_gap_us):
        return usual_us
    return np.where(stated.max_gap_us > 0, stated.max_gap_us, usual_us)


def longest_us(readings: Readings, max_gap_us: int) -> int:
    """Return the longest time that one of them can speak for."""
    longest = LONGEST_US if np.count_nonzero(readings.kind == _COUNTER_KWH) else max_gap_us
    if (stated := readings.stated) is None:
        return longest
    return max(longest, int(stated.max_gap_us.max(initial=0)), int(stated.duration_us.max(initial=0)))


def _distances_us(readings: Readings) -> tuple[I64, I64]:
    """Return the time since the reading before each and until the one after it."""
    ship, moment_us = readings.ship, readings.moment_us
    distances_us = np.full(len(readings) + 1, _NEVER_US)
    step_us = distances_us[1:-1]
    np.subtract(moment_us[1:], moment_us[:-1], out=step_us)
    step_us[(ship[1:] != ship[:-1]).nonzero()[0]] = _NEVER_US
    return distances_us[:-1], distances_us[1:]


def _energies(readings: Readings, is_near: Bools) -> tuple[F64, Bools]:
    """Return the values of the intervals, which are differences for counters, and which readings have one."""
    value, speaks = readings.value, readings.kind != _UNKNOWN
    at = (readings.kind == _COUNTER_KWH).nonzero()[0]
    if not len(at):
        return value, speaks
    after = np.minimum(at + 1, len(readings) - 1)
    rise = value[after] - value[at]
    fallen = (rise < 0).nonzero()[0]
    if len(fallen) and readings.stated is not None:
        rollover = readings.stated.rollover[after[fallen]]
        fall, lost = _difference(value[after[fallen]], value[at[fallen]])
        rise[fallen] = np.where(rollover > 0, fall + rollover + lost, fall)
    speaks[at] = is_near[at] & (readings.kind[after] == _COUNTER_KWH) & (rise >= 0)
    value = value.copy()
    value[at] = rise
    return value, speaks


def _difference(one: F64, other: F64) -> tuple[F64, F64]:
    """Return a difference, and exactly what its rounding has lost (the two-sum of Knuth)."""
    difference = one - other
    part = difference - one
    return difference, (one - (difference - part)) - (other + part)


def _lines(readings: Readings, is_near: Bools, until_us: I64, rows: I64) -> Lines | None:
    """Return the lines of some rows: to the next reading if both are of that kind."""
    is_line = readings.kind == _LINE_KW
    if not is_line.any():
        return None
    on_line = is_near & is_line
    on_line[:-1] &= is_line[1:]
    following = np.minimum(rows + 1, len(readings) - 1)
    return Lines((until_us * on_line).take(rows), readings.value.take(following))
