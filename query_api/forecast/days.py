"""A history cut into days, and the means over them that models share. A row never depends on a later one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from query_api.forecast.fit import Fit, no_paths
from query_api.forecast.history import History
from query_api.forecast.known import known_in
from query_api.forecast.steps import DAY, DAY_S, DAYS
from shared.domain.columns import F64, I64

WEEK_DAYS = 7
HOUR = 4
HOURS = DAY // HOUR
SAME_WEEKDAYS = 6.0
"""After so many weeks a weekday's difference from its week counts half."""

Predictor = Callable[[int], F64]
"""Returns what would have been predicted after each day for a day ahead (0: the next one), float64[n, 96]."""


@dataclass(frozen=True, slots=True, eq=False)
class Days:
    """The whole days of a history, oldest first; the last one ends where the history ends.

    Attributes:
        end_s: the end of the last day, seconds since 1970.
        kwh: energy of each slot, float64[n, 96].
        weight: see `History`, float64[n, 96].
        covariates: those of each hour, also of the 14 days ahead, NaN where not known, float64[k, 24 n + 336]; None if
            there are none.

    """

    end_s: int
    kwh: F64
    weight: F64
    covariates: F64 | None = None

    def __len__(self) -> int:
        """Count the days."""
        return len(self.kwh)

    @property
    def start_s(self) -> int:
        """The start of the first day."""
        return self.end_s - len(self) * DAY_S

    def ahead(self, day: int) -> tuple[F64, F64]:
        """Return what came on the day ahead of each row and its weight, which is 0 where it is not known yet."""
        came, weight = np.zeros_like(self.kwh), np.zeros_like(self.kwh)
        known = max(len(self) - 1 - day, 0)
        came[:known], weight[:known] = self.kwh[1 + day :], self.weight[1 + day :]
        return came, weight


class DayModel(Protocol):
    """A model that predicts whole days."""

    @property
    def name(self) -> str:
        """Its name in the parameter `model`."""
        ...

    @property
    def needed(self) -> int:
        """How many days of history make it worth asking."""
        ...

    def predictor(self, days: Days) -> Predictor:
        """Prepare predictions from the end of each day. Each depends on nothing that came after it."""
        ...


def days_of(history: History) -> Days:
    """Cut a history of at least a day into days."""
    n = len(history) // DAY
    kwh, weight = (column[-n * DAY :].reshape(n, DAY) for column in (history.kwh, history.weight))
    days = Days(history.end_s, kwh, weight)
    if history.covariates is None or not history.covariates.values:
        return days
    return replace(days, covariates=hourly(known_in(history.covariates, days.start_s, (n + DAYS) * DAY)) / HOUR)


def fit_days(model: DayModel, history: History, wanted: list[int]) -> Fit:
    """Fit one model, as `Model` wants it."""
    days = days_of(history)
    predict = model.predictor(days)
    paths = no_paths(len(days))
    for day in wanted:
        paths[:, day * DAY : (day + 1) * DAY] = predict(day)[::-1]
    return Fit(paths[0], origins_back(history, len(days) - 1), paths[1:])


def origins_back(history: History, m: int) -> I64:
    """Return the positions 1 to m days before the end of the history."""
    return len(history) - DAY * np.arange(1, m + 1, dtype=np.int64)


def hourly(kwh: F64) -> F64:
    """Sum the slots of each hour, float64[n, 24]."""
    hours: F64 = kwh.reshape(len(kwh), -1, HOUR).sum(axis=2)
    return hours


def earlier(rows: F64, days: int) -> F64:
    """Return for each row the one so many days before it, and the first one where there is none."""
    found: F64 = rows[np.maximum(np.arange(len(rows)) - days, 0)]
    return found


def back_to_weekday(day: int) -> int:
    """Return how many days before a row the last day lies that is the weekday of the day ahead."""
    return WEEK_DAYS * (day // WEEK_DAYS + 1) - 1 - day


def recent_mean(rows: F64, half_life: float) -> F64:
    """Return for each row the mean of it and all before it; a row so many days older counts half."""
    keep = 0.5 ** (1 / half_life)
    means = np.empty_like(rows)
    total, count = np.zeros_like(rows[0]), 0.0
    for at, row in enumerate(rows):
        total, count = keep * total + row, keep * count + 1
        means[at] = total / count
    return means


def weekday_means(rows: F64, half_life: float) -> Predictor:
    """Return the recent mean, with what is usual for the weekday ahead.

    A weekday's difference is that from the mean of the week up to it. It begins at 0.
    """
    level = recent_mean(rows, half_life)
    totals = np.concatenate([np.zeros_like(rows[:1]), np.cumsum(rows, axis=0)])
    at = np.arange(len(rows))
    first = np.maximum(at - WEEK_DAYS + 1, 0)
    usual = rows - (totals[at + 1] - totals[first]) / (at + 1 - first)[:, None]
    keep = 0.5 ** (1 / SAME_WEEKDAYS)
    usual *= 1 - keep
    for row in range(WEEK_DAYS, len(rows)):
        usual[row] += keep * usual[row - WEEK_DAYS]

    def predict(day: int) -> F64:
        back = back_to_weekday(day)
        return level + np.where((at >= back)[:, None], earlier(usual, back), 0.0)

    return predict
