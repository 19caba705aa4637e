"""Quantiles of past errors that follow a change: recent errors count more, in units of how large they are of late.

The level is adapted on the ship's own past (adaptive conformal inference, Gibbs and Candès, 2021): where the interval
would have missed too often it is widened, where too seldom narrowed.
"""

import numpy as np

from shared.domain.columns import F64

TAIL = 0.05
"""The share beyond each end of the interval."""
HALF_LIFE = 60.0
"""Days after which an error counts half."""
SIZE_HALF_LIFE = 10.0
SIZE_DOUBT = 10.0
"""How many days of the usual size count as much as the recent ones."""
SIZE_POWER = 0.5
"""The interval follows the recent size of errors by this power: some of the change is chance."""
LARGEST = 4.0
"""An error larger than so many usual ones counts as no larger, in the recent size."""
FIRST = 28
"""So many of the oldest errors, or a third, are left out: their size has nothing to be compared with."""
REPLAYED = 150
STEP = 0.03
"""By how much a miss moves the level."""
LEVELS = 0.2, 2.5
"""Bounds of the level, relative to what is wanted."""
EDGE = 0.5
WIDER = 1.5
"""With n errors the outer half of one is beyond each end, and the interval is wider by `WIDER` / n."""
MOST_EDGE = 2.0
"""Overlapping windows say less than their number: up to so many times as much is beyond each end."""
LEAST_TAIL = 0.002


def sizes(errors: F64, wait: int) -> F64:
    """Return the recent size of errors for each of them and for the future, float64[m + 1, c].

    Args:
        errors: oldest first, float64[m, c]; NaN is unknown.
        wait: after how many rows an error is known; of the future's, all are.

    """
    m = len(errors)
    absolute, seen = np.abs(np.nan_to_num(errors)), ~np.isnan(errors)
    usual = absolute.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    means = np.cumsum(absolute, axis=0) / np.maximum(np.cumsum(seen, axis=0), 1)
    keep = 0.5 ** (1 / SIZE_HALF_LIFE)
    known = np.empty_like(absolute)
    recent, count = np.zeros_like(usual), np.zeros_like(usual)
    for at, mean in enumerate(means):
        recent = keep * recent + np.minimum(absolute[at], LARGEST * np.maximum(mean, usual))
        count = keep * count + seen[at]
        known[at] = (recent + SIZE_DOUBT * mean) / (count + SIZE_DOUBT)
    known = np.maximum(known, 0.1 * usual) ** SIZE_POWER
    before = np.maximum(np.arange(m) - wait, 0)
    found: F64 = np.concatenate([known[before], known[-1:]])
    return found


def quantiles(errors: F64, wait: int, overlap: float, shares: F64) -> F64:
    """Return quantiles of the next error, float64[k, c]; they grow with the share.

    Args:
        errors: past ones, oldest first, a day apart, float64[m, c]; NaN is unknown.
        wait: after how many rows an error is known.
        overlap: how many neighbouring errors count as one.
        shares: the share wanted below each quantile, float64[k], more than 0 and less than 1.

    """
    m = len(errors)
    wait = min(wait, m // 2)
    size = sizes(errors, wait)
    relative = np.divide(errors, size[:-1], out=np.zeros_like(errors), where=size[:-1] > 0)
    relative[np.isnan(errors)] = np.nan
    first = max(wait, min(FIRST, m // 3))
    if (np.isnan(relative[first:]).all(axis=0)).any():
        first = 0  # all that is known came first
    level = TAIL
    if errors.shape[1] == 1:
        level = _adapted(relative[:, 0], first, wait, overlap)
    found: F64 = _quantiles(relative[first:], overlap, _levels(shares, level)) * size[-1]
    return found


def _levels(shares: F64, level: float) -> F64:
    """Return the shares to use where `level` holds what `TAIL` should: those between are moved in proportion."""
    moved: F64 = np.interp(shares, [0.0, TAIL, 0.5, 1 - TAIL, 1.0], [0.0, level, 0.5, 1 - level, 1.0])
    return moved


def _adapted(relative: F64, first: int, wait: int, overlap: float) -> float:
    """Return the share beyond each end for which the interval would have held on past errors, float64[m]."""
    level = TAIL
    for at in range(max(first + FIRST, len(relative) - REPLAYED), len(relative)):
        shares = np.array([level, 1 - level])
        low, high = _quantiles(relative[first : at - wait + 1, None], overlap, shares)[:, 0].tolist()
        missed = not low <= relative[at] <= high
        level = float(np.clip(level + STEP * (TAIL - missed / 2), LEVELS[0] * TAIL, LEVELS[1] * TAIL))
    return level


def _quantiles(errors: F64, overlap: float, shares: F64) -> F64:
    """Return weighted quantiles of each column, float64[k, c], a little farther out the fewer errors there are."""
    m, columns = errors.shape
    weight = 0.5 ** (np.arange(m)[::-1] / HALF_LIFE)[:, None] * ~np.isnan(errors)
    count = weight.sum(axis=0) ** 2 / (weight**2).sum(axis=0) / overlap
    wanted = shares[:, None] + np.sign(shares - 0.5)[:, None] * EDGE * min(overlap, MOST_EDGE) / count
    wanted = np.clip(wanted, LEAST_TAIL, 1 - LEAST_TAIL)
    order = np.argsort(errors, axis=0), np.arange(columns)  # NaN last, with no weight
    ranked = np.fmax.accumulate(errors[order], axis=0)
    weight = weight[order]
    reached = np.cumsum(weight, axis=0)
    reached = (reached - weight / 2) / reached[-1]
    by_column = [np.interp(wanted[:, c], reached[:, c], ranked[:, c]) for c in range(columns)]
    found: F64 = np.stack(by_column, axis=1) * (1 + WIDER / count)
    return found
