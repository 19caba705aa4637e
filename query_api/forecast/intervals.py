"""How far off a total may be: by how far off it would have been in the past, over windows of the same length.

This is split conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005) with the errors of paths
that did not know what came. The sum of slots is taken before its error is: the errors of neighbours go together.
"""

from functools import cache

import numpy as np

from query_api.forecast.fit import Fit
from query_api.forecast.history import History
from query_api.forecast.steps import STEPS, modelled
from shared.readings import F64, I64

COVERAGE = 0.9
TAIL = (1 - COVERAGE) / 2
MANY = 20
"""From so many errors on, their order says where 90 % of them lie; with fewer, Student's distribution."""
FEW = 8
LEAST_KNOWN = 0.5


def total_off(history: History, fit: Fit, steps: I64) -> tuple[float, float]:
    """Give how far below and above the expected total of these steps the real one may be, in kWh: (≤ 0, ≥ 0)."""
    every = 7 if len(steps) > STEPS else 1
    fit = Fit(fit.path, fit.origins[::every], fit.past[::every])
    length = len(steps)
    while length:
        errors = _totals(history, fit, steps[:length])
        if len(errors) >= FEW or length <= 1:
            break
        length //= 2  # too long to have been seen often enough: as if all of it went wrong together
    errors = errors * (len(steps) / max(length, 1)) if length else np.zeros(0)
    if not len(errors):
        spread = float(_student(0) * history.scale * len(steps))
        return -spread, spread
    low, high = _off(errors[:, None])
    return float(low[0]), float(high[0])


def slots_off(history: History, fit: Fit, steps: I64) -> tuple[F64, F64]:
    """Give the same for each of these steps (of those that models look at) by itself, float64[n] each."""
    errors, known = _errors(history, fit, steps)
    errors = np.where(known > 0, errors, np.nan)
    counts = (known > 0).sum(axis=0)
    low, high = np.empty(len(steps)), np.empty(len(steps))
    for i, count in enumerate(counts.tolist()):
        column = errors[:, i]
        low[i], high[i] = _bounds(column[~np.isnan(column)], count, history)
    return low, high


def _bounds(errors: F64, count: int, history: History) -> tuple[float, float]:
    if not count:
        spread = float(_student(0) * history.scale)
        return -spread, spread
    low, high = _off(errors[:, None])
    return float(low[0]), float(high[0])


def _errors(history: History, fit: Fit, steps: I64) -> tuple[F64, F64]:
    """Give by how much each past path was exceeded, and how much is known of what came, float64[m, steps] each."""
    at = fit.origins[:, None] + steps
    inside = at < len(history)
    at = np.minimum(at, len(history) - 1)
    return history.kwh[at] - fit.past[:, modelled(steps)], history.weight[at] * inside


def _totals(history: History, fit: Fit, steps: I64) -> F64:
    """Give the errors of past totals of which half at least is known, as if all had been, float64[…]."""
    errors, known = _errors(history, fit, steps)
    share = known.mean(axis=1) if len(steps) else np.zeros(len(known))
    enough = share >= LEAST_KNOWN
    totals: F64 = (errors * known).sum(axis=1)[enough] / share[enough]
    return totals


def _off(errors: F64) -> tuple[F64, F64]:
    """Give where errors, float64[m, …] with m ≥ 1, lie but for a twentieth at either end."""
    m = len(errors)
    if m < MANY:
        spread = np.sqrt((errors**2).mean(axis=0)) * _student(m)
        return -spread, spread
    ordered = np.sort(errors, axis=0)
    below = max(int(np.floor((m + 1) * TAIL)), 1) - 1
    return np.minimum(ordered[below], 0.0), np.maximum(ordered[m - 1 - below], 0.0)


@cache
def _student(m: int) -> float:
    """Give Student's quantile for m errors around nought, and of none the one for one."""
    from scipy.special import stdtrit  # noqa: PLC0415  # the service starts without it

    return float(stdtrit(max(m, 1), 1 - TAIL))
