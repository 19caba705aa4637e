"""For each day ahead, a ridge regression of its 96 slots on calendar and lags.

The target is the difference from the same day a week before, so without training data it predicts the same as
`seasonal_naive`. Each past day at the same time of day is a row, each slot a column. For what was tried see
docs/decisions/015-forecasts.md.
"""

from typing import Final

import numpy as np

from query_api.forecast.chained import BLOCK, chained
from query_api.forecast.days import Days, Predictor, back_to_weekday, earlier, fit_days, hourly
from query_api.forecast.fit import Fit
from query_api.forecast.history import History
from query_api.forecast.steps import DAY_S
from shared.domain.columns import F64

WEEKS = 4
HOUR = 4
YEAR_DAYS = 366
YEAR_S = 365.2425 * DAY_S
PENALTIES = np.logspace(0, 4, 9)


class Linear:
    """Forecasts by ridge regression."""

    name: Final = "linear"
    needed: Final = 21

    def predictor(self, days: Days) -> Predictor:
        """See `DayModel`."""
        weeks = int(np.clip((len(days) - 7) // 14, 0, WEEKS))
        if not weeks:  # too little history for the days of a week
            mean = _mean_of_week(days.kwh)
            return lambda _: mean
        return lambda day: _predicted(days, day, weeks)

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:  # noqa: ARG002  # equal for all ships
        """See `Model`."""
        return fit_days(self, history, days)


def _mean_of_week(kwh: F64) -> F64:
    """Return the mean of each row and the six before it, as far as there are any."""
    totals = np.concatenate([np.zeros_like(kwh[:1]), np.cumsum(kwh, axis=0)])
    at = np.arange(len(kwh))
    first = np.maximum(at - 6, 0)
    mean: F64 = (totals[at + 1] - totals[first]) / (at + 1 - first)[:, None]
    return mean


def _predicted(days: Days, day: int, weeks: int) -> F64:
    back = back_to_weekday(day)
    base = earlier(days.kwh, back)
    came, weight = days.ahead(day)
    rows = weight.mean(axis=1) * days.weight.mean(axis=1)
    rows[: back + 7 * weeks] = 0.0  # their lags are not known
    scale = float(days.kwh.std()) or 1.0
    features = np.concatenate([_lags(days.kwh, back, weeks) / scale, _calendar(days, day)], axis=1)
    return base + scale * chained(features, (came - base) / scale, rows, day + 1, PENALTIES)


def _lags(kwh: F64, back: int, weeks: int) -> F64:
    """Return the last hour's change from a week ago, the last day and the same weekdays by the hour, float64[n, p].

    Each block of rows is relative to the mean of all rows up to its first, so that nothing later is known.
    """
    hours = hourly(kwh) / HOUR
    same = [earlier(hours, back + 7 * week) for week in range(weeks)]
    lags = [HOUR * (kwh - earlier(kwh, 7))[:, -HOUR:], hours, *same[:2]]
    if weeks > 2:  # noqa: PLR2004  # the first two have columns of their own
        lags.append(np.mean(same[2:], axis=0))
    columns: F64 = np.concatenate(lags, axis=1)
    n = len(columns)
    means = np.cumsum(columns, axis=0) / np.arange(1, n + 1)[:, None]
    until = np.maximum((np.arange(n) - (n - 1)) // BLOCK * BLOCK + n - 1, 0)
    centred: F64 = columns - means[until]
    return centred


def _calendar(days: Days, day: int) -> F64:
    """Return the day of the week, and with a year of history the time of the year, as features of size 1."""
    at_s = days.start_s + (np.arange(len(days)) + 1 + day) * DAY_S
    columns = 3.0 * np.eye(7)[(at_s // DAY_S + 3) % 7]
    if len(days) < YEAR_DAYS:
        return columns
    turn = 2 * np.pi * at_s[:, None] / YEAR_S * np.arange(1, 3)
    return np.concatenate([columns, np.sin(turn), np.cos(turn)], axis=1)
