"""Quantiles of a total, and so its interval, from the errors of past forecasts over windows of the same length.

This is split conformal prediction (Vovk et al., Algorithmic Learning in a Random World, 2005) with the errors of paths
that were not fitted to what followed. The errors are those of sums, because errors of neighbouring slots correlate.
"""

from functools import lru_cache

import numpy as np

from query_api.forecast.conformal import HALF_LIFE, TAIL, quantiles
from query_api.forecast.fit import Fit
from query_api.forecast.history import History
from query_api.forecast.steps import DAY, STEPS, modelled
from shared.domain.columns import F64, I64

COVERAGE = 1 - 2 * TAIL
MANY = 20
"""From so many errors on, the interval is from their quantiles; with fewer, from Student's distribution."""
FEW = 8
LEAST_KNOWN = 0.5
ANGLES = 100_001
DOUBT = 2.0
"""So many errors are as uncertain a measure of the next one as that one is."""


def total_off(history: History, fit: Fit, steps: I64, shares: F64) -> F64:
    """Return quantiles of a total of these steps, relative to the expected one, in kWh, float64[k].

    Those of the interval and beyond it are on either side of the expected total.
    """
    every = 7 if len(steps) > STEPS else 1
    fit = Fit(fit.path, fit.origins[::every], fit.past[::every])
    length = max(len(steps), 1)
    errors = _totals(history, fit, steps[:length])
    while len(errors) < FEW and length > 1:  # too few windows of this length in the history
        length //= 2
        errors = _totals(history, fit, steps[:length])
    overlap = max(length / DAY / every, 1.0)
    wait = max(-(-int(steps[:length].max(initial=0) + 1) // (DAY * every)), 1)
    off = _off(errors[:, None], wait, overlap, history.spread * length, shares)[:, 0]
    found: F64 = off * (len(steps) / length)  # as if all parts had the same error
    return found


def slots_off(history: History, fit: Fit, steps: I64, shares: F64) -> F64:
    """Return the same of each of these modelled steps by itself, float64[k, n]."""
    errors, known = errors_of(history, fit, steps)
    errors = np.where(known > 0, errors, np.nan)
    found = np.zeros((len(shares), len(steps)))
    for day in np.unique(steps // DAY).tolist():
        at = np.flatnonzero(steps // DAY == day)
        found[:, at] = _off(errors[:, at], day + 1, 1.0, history.spread, shares)
    return found


def errors_of(history: History, fit: Fit, steps: I64) -> tuple[F64, F64]:
    """Return the error of each past path, and the weight of the slots that followed, float64[m, steps] each."""
    at = fit.origins[:, None] + steps
    inside = at < len(history)
    at = np.minimum(at, len(history) - 1)
    return history.kwh[at] - fit.past[:, modelled(steps)], history.weight[at] * inside


def _totals(history: History, fit: Fit, steps: I64) -> F64:
    """Return the errors of past totals of which at least half is known, extrapolated to all of it, float64[…]."""
    errors, known = errors_of(history, fit, steps)
    share = known.sum(axis=1) / max(len(steps), 1)
    enough = share >= LEAST_KNOWN
    totals: F64 = (errors * known).sum(axis=1)[enough] / share[enough]
    return totals


def _off(errors: F64, wait: int, overlap: float, spread: float, shares: F64) -> F64:
    """Return quantiles of errors, latest first, float64[k, c]; without errors, from the spread.

    Errors of overlapping windows correlate, so `overlap` of them count as one. NaN is an unknown error.
    """
    count = (~np.isnan(errors)).sum(axis=0) / overlap
    found = _by_student(errors, count, spread, shares)
    many = count >= MANY
    if many.any():
        found[:, many] = quantiles(errors[::-1, many], wait, overlap, shares)
    outer_low, outer_high = shares <= TAIL, shares >= 1 - TAIL
    found[outer_low] = np.minimum(found[outer_low], 0.0)
    found[outer_high] = np.maximum(found[outer_high], 0.0)
    return found


def _by_student(errors: F64, count: F64, spread: float, shares: F64) -> F64:
    """Return quantiles of few errors, from their size, float64[k, c]; recent ones count more."""
    known = ~np.isnan(errors)
    weight = known * 0.5 ** (np.arange(len(errors)) / HALF_LIFE)[:, None]
    total, n = weight.sum(axis=0), known.sum(axis=0)
    squares = (weight * np.where(known, errors, 0.0) ** 2).sum(axis=0)
    size = np.sqrt(squares / np.where(n, total, 1.0) * (1 + DOUBT / np.maximum(n, 1)))
    size = np.where(n, size, spread)
    found = np.zeros((len(shares), len(count)))
    for degrees in np.unique(np.maximum(count[count < MANY].astype(np.int64), 1)).tolist():
        at = (np.maximum(count.astype(np.int64), 1) == degrees) & (count < MANY)
        factors = np.array([student(degrees, share) for share in shares.tolist()])
        found[:, at] = factors[:, None] * size[at]
    return found


@lru_cache(1024)
def student(m: int, share: float) -> float:
    """Return a quantile of Student's distribution with m degrees of freedom.

    With t = √m tan θ its density is proportional to cos θ to the power of m - 1.
    """
    angle = np.linspace(-np.pi / 2, np.pi / 2, ANGLES)
    density = np.cos(angle) ** (m - 1)
    reached = (np.cumsum(density) - density / 2) / density.sum()
    return float(np.sqrt(m) * np.tan(np.interp(share, reached, angle)))
