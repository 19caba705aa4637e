"""How far off a total may be: by how far off it would have been in the past, over windows of the same length.

This is split conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005) with the errors of paths
that did not know what came. The sum of slots is taken before its error is: the errors of neighbours go together.
"""

from functools import cache

import numpy as np

from query_api.forecast.fit import Fit
from query_api.forecast.history import History
from query_api.forecast.steps import DAY, STEPS, modelled
from shared.domain.readings import F64, I64

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
    length = max(len(steps), 1)
    errors = _totals(history, fit, steps[:length])
    while len(errors) < FEW and length > 1:  # too long to have been seen often enough
        length //= 2
        errors = _totals(history, fit, steps[:length])
    low, high = _off(errors, len(errors) * min(every * DAY / length, 1.0), history.spread * length)
    return low * len(steps) / length, high * len(steps) / length  # as if all of it went wrong together


def slots_off(history: History, fit: Fit, steps: I64) -> tuple[F64, F64]:
    """Give the same for each of these steps (of those that models look at) by itself, float64[n] each."""
    errors, known = _errors(history, fit, steps)
    off = [
        _off(column[seen], int(seen.sum()), history.spread) for column, seen in zip(errors.T, known.T > 0, strict=True)
    ]
    low, high = np.array(off).reshape(-1, 2).T
    return low, high


def _errors(history: History, fit: Fit, steps: I64) -> tuple[F64, F64]:
    """Give by how much each past path was exceeded, and how much is known of what came, float64[m, steps] each."""
    at = fit.origins[:, None] + steps
    inside = at < len(history)
    at = np.minimum(at, len(history) - 1)
    return history.kwh[at] - fit.past[:, modelled(steps)], history.weight[at] * inside


def _totals(history: History, fit: Fit, steps: I64) -> F64:
    """Give the errors of past totals of which half at least is known, as if all had been, float64[…]."""
    errors, known = _errors(history, fit, steps)
    share = known.sum(axis=1) / max(len(steps), 1)
    enough = share >= LEAST_KNOWN
    totals: F64 = (errors * known).sum(axis=1)[enough] / share[enough]
    return totals


def _off(errors: F64, count: float, spread: float) -> tuple[float, float]:
    """Give where errors, float64[m], lie but for a twentieth at either end; without one, by how slots are spread.

    Windows that overlap go wrong together, so that they count for fewer errors than there are.
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
    """Give Student's quantile for m errors around nought, and of none the one for one."""
    from scipy.special import stdtrit  # noqa: PLC0415  # the service starts without it

    return float(stdtrit(max(m, 1), 1 - TAIL))
