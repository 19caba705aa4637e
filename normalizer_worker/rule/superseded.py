"""Which readings do not count, because one that was there before outranks them, or because they are deleted. Pure."""

import numpy as np

from normalizer_worker.rule.normalize import by_rank
from shared.domain.columns import I64, Bools
from shared.domain.readings import Readings

_NO_KIND = -1


def outranked(readings: Readings) -> Bools:
    """Return which readings, in the order of their arrival, are outranked by one that came before them.

    A reading that says the same as the one that counts for its moment is none of them: it is a repeat.
    """
    order, is_last = by_rank(readings)
    group: I64 = np.cumsum(is_last) - is_last  # of one ship and moment, ascending by rank
    place = order + group * len(order)
    # The first to come of all that rank as high: from the end, since each group is below those behind it.
    first = np.minimum.accumulate(place[::-1])[::-1]
    winner = order[is_last][group]
    found = np.empty(len(order), np.bool_)
    found[order] = (first < place) & _differ(readings[order], readings[winner])
    return found


def _differ(some: Readings, others: Readings) -> Bools:
    """Return, row by row, whether readings mean something else, whenever they were sent."""
    found: Bools = (some.kind != others.kind) | (
        (some.value != others.value) & ~(np.isnan(some.value) & np.isnan(others.value))
    )
    if some.stated is not None and others.stated is not None:
        for mine, other in zip(some.stated.columns(), others.stated.columns(), strict=True):
            found |= mine != other
    return found


def superseded(readings: Readings, lost: Readings) -> Bools:
    """Return which readings, in the order of their arrival, do not count.

    `lost` names, by ship and moment, those that stored readings outrank or deletions take out.
    """
    if not len(lost):
        return outranked(readings)
    count = len(lost)
    latest_us = np.full(count, np.iinfo(np.int64).max)
    before = Readings(lost.ship, lost.moment_us, np.zeros(count), np.full(count, _NO_KIND, np.int8), latest_us)
    return outranked(Readings.concat([before, readings]))[count:]
