"""The default model: for each day ahead, a ridge regression of its 96 slots on calendar and lags.

The target is the difference from the same day a week before, so without training data it predicts the same as
`seasonal_naive`. Each past day at the same time of day is a row, each slot a column. For what was tried see
docs/decisions/015-forecasts.md.
"""

from functools import cache
from typing import Any, Final

import numpy as np

from query_api.forecast.fit import Fit, no_paths, origins_of, stretch
from query_api.forecast.history import History
from query_api.forecast.steps import DAY, DAY_S, WEEK
from shared.domain.columns import F64, I64
from shared.domain.slots import SLOT_S

WEEKS = 4
HOUR = 4
YEAR_S = 365.2425 * DAY_S
PENALTIES = np.logspace(-1, 4, 11)
FOLDS = 5
LEAST_ROWS = 10
LEAST_WEIGHT = 0.05


class Linear:
    """Forecasts by ridge regression."""

    name: Final = "linear"

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:  # noqa: ARG002  # equal for all ships
        """See `Model`."""
        weeks = int(np.clip((len(history) // DAY - 7) // 14, 0, WEEKS))
        origins = origins_of(history, weeks * WEEK + (WEEK if max(days, default=0) >= 7 and weeks else 0) or DAY)  # noqa: PLR2004  # a week
        paths = no_paths(len(origins))
        for day in days:
            base, features = _inputs(history, origins, day, weeks)
            learned = _residuals(history, origins, day, base, features)
            paths[:, day * DAY : (day + 1) * DAY] = base + learned
        return Fit(paths[0], origins[1:], paths[1:])


def _inputs(history: History, origins: I64, day: int, weeks: int) -> tuple[F64, F64]:
    """Return the prediction of each origin's day before the regression, float64[m, 96], and its features."""
    last = stretch(history.kwh, origins, -DAY, 0)
    if not weeks:  # too little history for the days of a week
        so_far = [stretch(history.kwh, origins, -DAY * back, -DAY * (back - 1)) for back in range(1, 8)]
        there = np.stack([(origins >= DAY * back).astype(float) for back in range(1, 8)])[:, :, None]
        base = (np.stack(so_far) * there).sum(axis=0) / there.sum(axis=0)
        return base, _hours(last - base) / history.scale
    ahead = day * DAY - WEEK * (day // 7 + 1)
    same = [stretch(history.kwh, origins, first, first + DAY) for first in (ahead - WEEK * k for k in range(weeks))]
    week_ago = stretch(history.kwh, origins, -HOUR - WEEK, -WEEK)
    lags = [HOUR * (last[:, -HOUR:] - week_ago), _hours(last), *map(_hours, same[:2])]
    if weeks > 2:  # noqa: PLR2004  # the first two have columns of their own
        lags.append(_hours(np.mean(same[2:], axis=0)))
    columns = np.concatenate(lags, axis=1) / history.scale
    columns -= columns[1:].mean(axis=0) if len(columns) > 1 else columns
    return same[0], np.concatenate([columns, _calendar(history, origins, day)], axis=1)


def _hours(values: F64) -> F64:
    hours: F64 = values.reshape(len(values), -1, HOUR).mean(axis=2)
    return hours


def _calendar(history: History, origins: I64, day: int) -> F64:
    """Return the day of the week, and with a year of history the time of the year, as features of size 1."""
    at_s = history.start_s + (origins + day * DAY) * SLOT_S
    columns = 3.0 * np.eye(7)[(at_s // DAY_S + 3) % 7]
    if len(history) * SLOT_S < YEAR_S:
        return columns
    turn = 2 * np.pi * at_s[:, None] / YEAR_S * np.arange(1, 3)
    return np.concatenate([columns, np.sin(turn), np.cos(turn)], axis=1)


def _residuals(history: History, origins: I64, day: int, base: F64, features: F64) -> F64:
    """Return the predicted difference of each origin's day from its base, float64[m, 96].

    The first row is the future and is predicted from all others; each of these from all outside its own fold.
    """
    ridge, ridge_cv, folds = warm_up()
    first = day * DAY
    is_past = origins + first + DAY <= len(history)
    weight = stretch(history.weight, origins, first, first + DAY).mean(axis=1) * is_past
    weight *= stretch(history.weight, origins, -DAY, 0).mean(axis=1)
    rows = np.flatnonzero(weight >= LEAST_WEIGHT)
    if len(rows) < LEAST_ROWS:
        return np.zeros_like(base)
    target = (stretch(history.kwh, origins, first, first + DAY) - base) / history.scale
    best = ridge_cv(PENALTIES).fit(features[rows], target[rows], weight[rows])
    learned: F64 = best.predict(features)
    for taught, held_out in folds(FOLDS).split(rows):
        fold = ridge(best.alpha_).fit(features[rows[taught]], target[rows[taught]], weight[rows[taught]])
        learned[rows[held_out]] = fold.predict(features[rows[held_out]])
    return learned * history.scale


@cache
def warm_up() -> tuple[Any, Any, Any]:
    """Import ridge, cross-validated ridge and folds from scikit-learn: about a second the first time.

    BLAS gets one thread: more do not speed up such small matrices, and would slow down other queries.
    """
    from sklearn.linear_model import Ridge, RidgeCV  # noqa: PLC0415
    from sklearn.model_selection import KFold  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    threadpool_limits(1, "blas")
    return Ridge, RidgeCV, KFold
