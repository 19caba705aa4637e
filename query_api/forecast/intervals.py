"""Intervals around a total, from the errors of past forecasts over windows of the same length.

This is split conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005) with the errors of paths
that were not fitted to what followed. The errors are those of sums, because errors of neighbouring slots correlate.
"""

from functools import cache

import numpy as np

from query_api.forecast.fit import Fit
from query_api.forecast.history import History
from query_api.forecast.steps import DAY, STEPS, modelled
from shared.domain.columns import F64, I64

COVERAGE = 0.9
TAIL = (1 - COVERAGE) / 2
MANY = 20
"""From so many errors on, the interval is their quantiles; with fewer, it is from Student's distribution."""
FEW = 8
LEAST_KNOWN = 0.5


def total_off(history: History, fit: Fit, steps: I64) -> tuple[float, float]:
    """Return the interval of a total of these steps, relative to the expected one, in kWh: (≤ 0, ≥ 0)."""
    every = 7 if len(steps) > STEPS else 1
    fit = Fit(fit.path, fit.origins[::every], fit.past[::every])
    length = max(len(steps), 1)
    errors = _totals(history, fit, steps[:length])
    while len(errors) < FEW and length > 1:  # too few windows of this length in the history
        length //= 2
        errors = _totals(history, fit, steps[:length])
    low, high = _off(errors, len(errors) * min(every * DAY / length, 1.0), history.spread * length)
    return low * len(steps) / length, high * len(steps) / length  # as if all parts had the same error


def slots_off(history: History, fit: Fit, steps: I64) -> tuple[F64, F64]:
    """Return the interval of each of these modelled steps by itself, float64[n] each."""
    errors, known = _errors(history, fit, steps)
    off = [
        _off(column[seen], int(seen.sum()), history.spread) for column, seen in zip(errors.T, known.T > 0, strict=True)
    ]
    low, high = np.array(off).reshape(-1, 2).T
    return low, high


def _errors(history: History, fit: Fit, steps: I64) -> tuple[F64, F64]:
    """Return the error of each past path, and the weight of the slots that followed, float64[m, steps] each."""
    at = fit.origins[:, None] + steps
    inside = at < len(history)
    at = np.minimum(at, len(history) - 1)
    return history.kwh[at] - fit.past[:, modelled(steps)], history.weight[at] * inside


def _totals(history: History, fit: Fit, steps: I64) -> F64:
    """Return the errors of past totals of which at least half is known, extrapolated to all of it, float64[…]."""
    errors, known = _errors(history, fit, steps)
    share = known.sum(axis=1) / max(len(steps), 1)
    enough = share >= LEAST_KNOWN
    totals: F64 = (errors * known).sum(axis=1)[enough] / share[enough]
    return totals


def _off(errors: F64, count: float, spread: float) -> tuple[float, float]:
    """Return the 5 % and 95 % quantiles of errors, float64[m]; without errors, from the spread of slots.

    Errors of overlapping windows correlate, so `count` is smaller than their number.
    """
    if count < MANY:
        size = float(np.sqrt((errors**2).mean())) if len(errors) else spread
        return -size * _student(int(count)), size * _student(int(count))
    below = int((np.floor((count + 1) * TAIL) - 0.5) / count * len(errors))
    above = len(errors) - 1 - below
    ordered = np.partition(errors, (below, above))
    return min(float(ordered[below]), 0.0), max(float(ordered[above]), 0.0)


@cache
def _student(m: int) -> float:
    """Return Student's quantile for m errors with mean zero, at least one."""
    from scipy.special import stdtrit  # noqa: PLC0415  # the service starts without it

    return float(stdtrit(max(m, 1), 1 - TAIL))
