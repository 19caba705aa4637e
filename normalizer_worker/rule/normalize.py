"""The normalisation rule: readings in, energy per quarter-hour out. Pure, on columns, for many ships at once.

The four points and their names are those of docs/rule.md. A reading covers the time until the next one.
Before a gap longer than `max_gap_us` and at the end, it covers as long as the interval before it.

`reach.py` beside it and `count_slots` in `shared/domain/slots.py` depend on how far a reading reaches.
"""

from dataclasses import dataclass

import numpy as np

from shared.domain.columns import I64, Bools, starts
from shared.domain.readings import Kind, Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_S, SLOT_US, Slots
from shared.domain.timestamps import US_PER_S

LONE_US = SLOT_US
"""How long a reading covers if no other is within `max_gap_us`."""
US_PER_HOUR = 3600 * US_PER_S
_ENERGY_KWH = np.int8(Kind.ENERGY_KWH)  # an enum would be compared as int64, which takes longer


def normalize(readings: Readings, max_gap_us: int = DEFAULT_MAX_GAP_US) -> Slots:
    """Turn readings of any ships, in any order, into the energy of the slots they speak for.

    Args:
        readings: n rows in any order; of several of one ship at one moment the one that `latest` keeps counts.
        max_gap_us: the longest time to the next reading that a reading covers; at least one slot.

    Returns:
        One row per slot with cover, by ship and time. Each slot sums its own pieces in the order of time and nothing
        else, so that equal readings give equal bits, whatever else is computed beside them.

    """
    readings = latest(readings)
    return energy(readings, intervals(readings, max_gap_us))


def latest(readings: Readings) -> Readings:
    """Keep one reading per ship and moment, by ship and time: the one sent last.

    Of two with equal `sent_at`, from different batches, the greater kind counts, then the greater value. So the result
    depends on the set of readings alone.
    """
    ship, moment_us = readings.ship, readings.moment_us
    same_ship = ship[1:] == ship[:-1]
    if ((ship[1:] > ship[:-1]) | (same_ship & (moment_us[1:] > moment_us[:-1]))).all():
        return readings
    return readings[latest_rows(readings)]


def latest_rows(readings: Readings) -> I64:
    """Give the positions of the readings that `latest` keeps; of several that are equal, the last."""
    ship, moment_us = readings.ship, readings.moment_us
    order = np.lexsort((readings.value, readings.kind, readings.sent_at_us, moment_us, ship))
    ship, moment_us = ship[order], moment_us[order]
    last = np.ones(len(order), np.bool_)
    last[:-1] = (ship[1:] != ship[:-1]) | (moment_us[1:] != moment_us[:-1])
    return order[last]


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """What each of n readings speaks for.

    Attributes:
        length_us: the interval is ``[moment, moment + length)``, int64[n].
        newest: whether it is its ship's newest reading, whose interval is provisional, bool[n].

    """

    length_us: I64
    newest: Bools


def intervals(readings: Readings, max_gap_us: int = DEFAULT_MAX_GAP_US) -> Intervals:
    """Find the interval of each reading (point 2); the readings must be as `latest` gives them."""
    step_us = np.diff(readings.moment_us)
    followed = readings.ship[1:] == readings.ship[:-1]
    joined = followed & (step_us <= max_gap_us)
    length_us = np.full(len(readings), LONE_US, np.int64)
    length_us[1:][joined] = step_us[joined]  # the time since the reading before …
    np.copyto(length_us[:-1], step_us, where=joined)  # … unless the next one follows
    newest = np.ones(len(readings), np.bool_)
    np.logical_not(followed, out=newest[:-1])
    return Intervals(length_us, newest)


def energy(readings: Readings, spoken: Intervals) -> Slots:
    """Cut the intervals at the slots' edges (point 3) and sum the pieces of each slot (point 4)."""
    row, slot, overlap_us = cut(readings.moment_us, spoken.length_us)
    ship = readings.ship[row]
    if not len(slot):
        return Slots.from_rows([])
    first = np.flatnonzero(starts(slot, ship))
    # The product comes first: of whole numbers it is exact, and one division then rounds once.
    is_energy = readings.kind == _ENERGY_KWH
    kwh = (readings.value[row] * overlap_us) / np.where(is_energy, spoken.length_us, US_PER_HOUR)[row]
    return Slots(
        ship=ship[first],
        start_s=slot[first] * SLOT_S,
        kwh=np.add.reduceat(kwh, first),
        covered_s=np.add.reduceat(overlap_us, first) / US_PER_S,
        provisional=np.logical_or.reduceat(spoken.newest[row], first),
    )


def cut(start_us: I64, length_us: I64) -> tuple[I64 | slice, I64, I64]:
    """Cut intervals at the slots' edges.

    Returns:
        For each piece, in the order of the intervals and of time: the row of its interval, its slot (counted from
        1970) and its length in microseconds.

    """
    end_us = start_us + length_us
    first = start_us // SLOT_US
    count = (end_us - 1) // SLOT_US - first + 1
    if (count == 1).all():
        return slice(None), first, length_us
    row = np.repeat(np.arange(len(start_us)), count)
    slot = np.arange(len(row)) + np.repeat(first - np.cumsum(count) + count, count)
    edge_us = slot * SLOT_US
    return row, slot, np.minimum(end_us[row], edge_us + SLOT_US) - np.maximum(start_us[row], edge_us)
