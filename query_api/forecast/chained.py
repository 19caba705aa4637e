"""Ridge regression that never learns from later rows: each block of days is predicted by a fit to what came before it.

So the errors on past days are those that forecasts made on these days would have had.
"""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import numpy as np

from shared.domain.columns import F64, I64

BLOCK = 28
"""Days from one fit to the next. The last fit, to all days, predicts the future only."""
LEAST_DAYS = 10


def blocks(n: int) -> I64:
    """Return the first rows of blocks of n days: every `BLOCK` days, counted from the last row, which is the future."""
    return np.arange(n - 1, 0, -BLOCK, dtype=np.int64)[::-1]


def one_blas_thread() -> None:
    """Let BLAS use one thread: more do not speed up such small matrices, and would slow down other queries."""
    _limit()


@cache
def _limit() -> None:
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  # the service starts without it

    threadpool_limits(1, "blas")


def chained(features: F64, target: F64, weight: F64, wait: int, penalties: F64) -> F64:
    """Predict the target of each row, float64[n, k]; 0 for rows with less than `LEAST_DAYS` of earlier ones.

    Args:
        features: float64[n, p], one row a day.
        target: float64[n, k].
        weight: float64[n], 0 where the target is unknown.
        wait: after how many rows a target is known.
        penalties: of these, the one with the smallest past errors is used.

    """
    one_blas_thread()
    n = len(features)
    found = np.zeros((len(penalties), *target.shape))
    for rows, known, gram, cross in _sums(features, target, weight, wait):
        if known < LEAST_DAYS:
            continue
        size, axes = np.linalg.eigh(gram)
        turned, wanted = axes.T @ cross, features[rows] @ axes
        for at, penalty in enumerate(penalties):
            found[at, rows] = (wanted / (size + penalty)) @ turned
    weight = weight * (np.arange(n) >= min(int(blocks(n)[0]) if n > 1 else 0, n))
    losses = [float((weight @ (target - each) ** 2).sum()) for each in found]
    best: F64 = found[int(np.argmin(losses))]
    return best


def _sums(features: F64, target: F64, weight: F64, wait: int) -> Iterator[tuple[slice, int, F64, F64]]:
    """Yield each block's rows, how many rows are known before it, and their normal equations."""
    n, p = features.shape
    gram, cross, known = np.zeros((p, p)), np.zeros((p, target.shape[1])), 0
    starts = [*blocks(n).tolist(), n]
    for start, end in pairwise(starts):
        upto = max(start - wait + 1, 0)
        taught = features[known:upto]
        weighted = taught.T * weight[known:upto]
        gram, cross, known = gram + weighted @ taught, cross + weighted @ target[known:upto], max(known, upto)
        yield slice(start, end), known, gram, cross
