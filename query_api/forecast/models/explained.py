"""The model `covariates`: `pooled` with the ship's covariates as further features.

Of each covariate and its square they are how far an hour ahead differs from what was usual at that time of day, as the
target does; and for the first day how far the last hours did. For what was tried see
docs/decisions/026-covariates.md.
"""

from typing import Final

import numpy as np

from query_api.forecast.days import HOUR, HOURS, Days, Predictor, recent_mean
from query_api.forecast.history import ROUNDING
from query_api.forecast.models.pooled import HALF_LIVES, Further, inputs_of, last_off, predicted
from query_api.forecast.steps import DAYS
from shared.domain.columns import F64, Bools

NEEDED_DAYS = 14
"""A covariate must be known for so many days of the history."""
LAST_HOURS = ((0, 1), (1, 24))
"""Spans before the origin, over which the difference from what was usual is averaged."""
ROOM = 0.5
"""How far beyond the range of the history a covariate counts, in units of the range."""


class Explained:
    """Forecasts by ridge regressions of hours with covariates, as a candidate of `auto`.

    It predicts NaN for the hours after the last day of which no covariate is known.
    """

    name: Final = "covariates"
    needed: Final = NEEDED_DAYS

    def predictor(self, days: Days) -> Predictor:
        """See `DayModel`."""
        inputs, columns, n = inputs_of(days), _columns(days), len(days)
        is_known = ~np.isnan(columns)
        usual = _usual(columns[:, :n], is_known[:, :n])
        off = columns[:, 1:n] - usual[:, :-1]
        size = _mean_size(off)
        off = np.pad(_known(off / size), ((0, 0), (1, 0), (0, 0)))
        last = np.concatenate([last_off(each, LAST_HOURS) for each in off], axis=1)

        def predict(day: int) -> F64:
            ahead = _known((columns[:, 1 + day : 1 + day + n] - usual) / size)
            known = is_known[:, n + day].T
            further = Further(ahead.reshape(len(ahead), -1).T, known, last if day == 0 else last[:, :0])
            path = predicted(days, inputs, day, further)
            path[-1, np.repeat(~known.any(axis=1), HOUR)] = np.nan
            return path

        return predict


def is_explained(days: Days) -> bool:
    """Return whether a covariate can be used: it is known for long enough, and not always the same."""
    return len(_columns(days)) > 0


def _columns(days: Days) -> F64:
    """Return the covariates that can be used and their squares, of size 1, float64[q, n + 14, 24]; NaN: not known.

    What is far beyond the range of the history counts as less: nothing was learned about it.
    """
    found = list[F64]()
    for hours in () if days.covariates is None else days.covariates:
        past = hours[: len(days) * HOURS]
        past = past[~np.isnan(past)]
        spread = float(past.std()) if len(past) >= NEEDED_DAYS * HOURS else 0.0
        if spread > ROUNDING * float(np.abs(past).max(initial=0.0)):
            low, high = past.min(), past.max()
            room = ROOM * (high - low)
            scaled = (np.clip(hours, low - room, high + room) - past.mean()) / spread
            found += [scaled, scaled**2]
    return np.array(found).reshape(len(found), len(days) + DAYS, HOURS)


def _usual(columns: F64, is_known: Bools) -> F64:
    """Return the recent mean of the known hours after each day, NaN where there are none before."""
    sums = [recent_mean(each, HALF_LIVES[1]) for each in _known(columns)]
    shares = [recent_mean(each, HALF_LIVES[1]) for each in is_known.astype(np.float64)]
    with np.errstate(invalid="ignore"):
        usual: F64 = np.array(sums) / np.array(shares)
    return usual


def _mean_size(differences: F64) -> F64:
    """Return the mean size of each column's differences, 1 if there are none, float64[q, 1, 1]."""
    known = [np.abs(each[~np.isnan(each)]) for each in differences]
    return np.array([float(each.sum()) / max(len(each), 1) or 1.0 for each in known])[:, None, None]


def _known(columns: F64) -> F64:
    """Return 0 where nothing is known: as usual."""
    return np.where(np.isnan(columns), 0.0, columns)
