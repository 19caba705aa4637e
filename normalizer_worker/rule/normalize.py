"""The normalisation rule: readings in, energy per quarter-hour out. Pure, on columns, for many ships at once.

docs/rule.md describes the rule. `intervals.py` beside it finds what each reading speaks for. `reach.py` and
`count_slots` in `shared/domain/slots.py` depend on how far a reading reaches.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from normalizer_worker.rule.intervals import US_PER_HOUR, Intervals, Lines, intervals
from shared.domain.columns import F64, I64, Bools, starts
from shared.domain.readings import Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_S, SLOT_US, Slots
from shared.domain.timestamps import US_PER_S

PART = 12_000
"""So many readings are computed at a time: their columns stay in the processor's cache."""


def normalize(readings: Readings, max_gap_us: int = DEFAULT_MAX_GAP_US) -> Slots:
    """Turn readings of any ships, in any order, into the energy of the slots they speak for.

    Args:
        readings: n rows in any order; of several of one ship at one moment the one that `latest` keeps counts.
        max_gap_us: the longest time to its neighbour that a reading bridges unless it states another, or is a
            counter's; at least one slot.

    Returns:
        One row per slot with cover, by ship and time. Each slot sums its own pieces in the order of time and nothing
        else, so that equal readings give equal bits, whatever else is computed beside them.

    """
    return slots_of(latest(readings), max_gap_us)


def slots_of(readings: Readings, max_gap_us: int) -> Slots:
    """Return what `normalize` does, of readings as `latest` returns them."""
    if len(readings) <= PART:
        return energy(intervals(readings, max_gap_us))
    return Slots.concat([energy(intervals(part, max_gap_us)) for part in _parts(readings)])


def _parts(readings: Readings) -> Iterator[Readings]:
    """Cut readings between ships, into parts of some `PART` readings."""
    ships = starts(readings.ship).nonzero()[0]
    ends = ships.searchsorted(np.arange(PART, len(readings), PART))
    cuts = np.unique(ships.take(ends, mode="clip"))
    for start, end in pairwise([0, *cuts[cuts > 0].tolist(), len(readings)]):
        yield readings[start:end]


def latest(readings: Readings) -> Readings:
    """Keep one reading per ship and moment, by ship and time: the one sent last.

    Of two with equal `sent_at`, from different batches, the greater kind counts, then the greater value, then what else
    they state. So the result depends on the set of readings alone.
    """
    ship, moment_us = readings.ship, readings.moment_us
    same_ship = ship[1:] == ship[:-1]
    if ((ship[1:] > ship[:-1]) | (same_ship & (moment_us[1:] > moment_us[:-1]))).all():
        return readings
    return readings[latest_rows(readings)]


def latest_rows(readings: Readings) -> I64:
    """Give the positions of the readings that `latest` keeps; of several that are equal, the last."""
    order, is_last = by_rank(readings)
    return order[is_last]


def by_rank(readings: Readings) -> tuple[I64, Bools]:
    """Return the order by ship, moment and rank, and which positions in it are the last of their ship and moment."""
    ship, moment_us = readings.ship, readings.moment_us
    keys = (readings.value, readings.kind, readings.sent_at_us, moment_us, ship)
    stated = () if readings.stated is None else reversed(readings.stated.columns())
    order = np.lexsort((*stated, *keys))
    ship, moment_us = ship[order], moment_us[order]
    last = np.ones(len(order), np.bool_)
    last[:-1] = (ship[1:] != ship[:-1]) | (moment_us[1:] != moment_us[:-1])
    return order, last


def energy(spoken: Intervals) -> Slots:
    """Cut the intervals at the slots' edges and sum the pieces of each slot."""
    row, slot, overlap_us = cut(spoken.start_us, spoken.length_us)
    ship = spoken.ship[row]
    if not len(slot):
        return Slots.from_rows([])
    first = starts(slot, ship).nonzero()[0]
    # The product comes first: of whole numbers it is exact, and one division then rounds once.
    kwh = (spoken.value[row] * overlap_us) / spoken.per_us[row]
    if spoken.lines is not None:
        begins_us = np.maximum(slot * SLOT_US, spoken.start_us[row]) - spoken.start_us[row]
        _follow_lines(kwh, begins_us, overlap_us, spoken.value[row], spoken.lines[row])
    # Few are estimated, and of these some are provisional: they are added one by one.
    at = spoken.estimated[row].nonzero()[0]
    group = first.searchsorted(at, side="right") - 1
    provisional = np.zeros(len(first), np.bool_)
    provisional[group[spoken.provisional[row][at]]] = True
    return Slots(
        ship=ship[first],
        start_s=slot[first] * SLOT_S,
        kwh=np.add.reduceat(kwh, first),
        covered_s=np.add.reduceat(overlap_us, first) / US_PER_S,
        provisional=provisional,
        estimated_s=np.bincount(group, overlap_us[at], len(first)) / US_PER_S,
    )


def _follow_lines(kwh: F64, begins_us: I64, overlap_us: I64, start_kw: F64, lines: Lines) -> None:
    """Replace the energy of the pieces that are on a line by their length times the power in their middle."""
    on_line = lines.step_us.nonzero()[0]
    overlap_us, lines, start_kw = overlap_us[on_line], lines[on_line], start_kw[on_line]
    # Twice the time, so that the middle is a whole number. Both weights are positive: nothing cancels.
    middle, whole = 2 * begins_us[on_line] + overlap_us, 2 * lines.step_us
    power_kw = (start_kw * (whole - middle) + lines.end_kw * middle) / whole
    kwh[on_line] = power_kw * overlap_us / US_PER_HOUR


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
    row = np.arange(len(start_us)).repeat(count)
    slot = np.arange(len(row)) + (first - count.cumsum() + count).repeat(count)
    edge_us = slot * SLOT_US
    return row, slot, np.minimum(end_us[row], edge_us + SLOT_US) - np.maximum(start_us[row], edge_us)
