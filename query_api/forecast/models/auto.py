"""The default model: the others compete on the ship's own past, and a weighted mean of them is the forecast.

For each part of the time ahead (the first hour, the next two, … each day) the weights are those that would have made
the smallest errors at the same time of day on past days, the recent ones above all.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from query_api.forecast.days import HOUR, WEEK_DAYS, DayModel, Days, days_of, hourly, origins_back
from query_api.forecast.fit import Fit, Weights, no_paths
from query_api.forecast.history import ROUNDING, History
from query_api.forecast.models.explained import Explained, is_explained
from query_api.forecast.models.first_guess import of_last_week
from query_api.forecast.models.linear import Linear
from query_api.forecast.models.plain import LastWeek, Yesterday, recent_days, recent_weeks
from query_api.forecast.models.pooled import Pooled
from query_api.forecast.steps import DAY, STEPS
from shared.domain.columns import F64, I64

PARTS = ((0, 4), (4, 12), (12, 24), (24, 48), (48, DAY))
"""Slots of the first day that have weights of their own."""
HALF_LIFE = 20.0
"""Days after which an error counts half."""
FIRST_DAYS = 28
"""Of so many days, or a third of a shorter history, errors do not count: the models had learned little."""
TOO_LARGE = 4.0
"""An error larger than so many typical ones counts as if it were no larger."""
OF_HOURS = 0.3
"""How much the errors of single hours count, beside those of totals."""
SHRINK = 0.1
"""How much is added to each squared error, so that weights are more equal."""
DOUBT = 12.0
"""After so many days of errors the first guess has a weight of a quarter."""
ROUNDS = 300
REACH = 2.0
"""How far a day's total may lie outside of what the plain models say: so many of their typical errors."""
CHANGED_SLOTS = DAY, 24
"""Over the last day or the last six hours a change is noticed."""
ENOUGH_DAYS = 7
LEAST_KNOWN = 0.5
PLAIN = "yesterday", "seasonal_naive", "recent_days", "recent_weeks"


class Auto:
    """Forecasts by a weighted mean of models."""

    name: Final = "auto"

    def __init__(self) -> None:
        """Let all models compete."""
        self._models: tuple[DayModel, ...] = (
            Yesterday(), LastWeek(), recent_days(), recent_weeks(), Linear(), Pooled(),
        )  # fmt: skip

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:  # noqa: ARG002  # equal for all ships
        """See `Model`."""
        grid = days_of(history)
        models = self.candidates(grid)
        names = [each.name for each in models]
        predictors = [each.predictor(grid) for each in models]
        change, instead = change_of(grid), np.zeros(STEPS)
        paths = no_paths(len(grid))
        weights = np.zeros((len(models), STEPS))
        for day in days:
            at = slice(day * DAY, (day + 1) * DAY)
            predicted = np.stack([predict(day) for predict in predictors])
            mixed, weights[:, at] = mixture(grid, names, predicted, day)
            mixed[-1] = within_reach(grid, mixed[-1], plain(models, predicted), day, explained(models, predicted))
            if change is not None:
                instead[at] = change * predicted[names.index("recent_weeks")][-1]
                mixed[-1] = (mixed[-1] + instead[at]) / 2
            paths[:, at] = mixed[::-1]
        return Fit(
            paths[0],
            origins_back(history, len(grid) - 1),
            paths[1:],
            Weights(tuple(names), weights),
            None if change is None else instead,
        )

    def candidates(self, days: Days) -> list[DayModel]:
        """Return the models for which there is enough history."""
        found = [each for each in self._models if each.needed <= len(days)]
        return [*found, Explained()] if is_explained(days) else found


def change_of(days: Days) -> float | None:
    """Return by which factor the last hours differ from the usual ones, if none before were like that; else None.

    Unlike all before is less than half of the least, or more than twice the most. Nothing can be learned about what
    follows then: it goes on like that, or as before.
    """
    if len(days) <= ENOUGH_DAYS:
        return None
    for slots in CHANGED_SLOTS:
        totals = days.kwh[:, -slots:].sum(axis=1)
        before, last = totals[:-1], totals[-1]
        is_new = last < before.min() / 2 or last > before.max() * 2
        if is_new and before.min() >= 0 and before.max() > 0 and days.weight[-1, -slots:].mean() >= LEAST_KNOWN:
            return float(last / before.mean())
    return None


def plain(models: list[DayModel], predicted: F64) -> F64:
    """Return what plain models predict, float64[k, n, 96]."""
    return predicted[[each.name in PLAIN for each in models]]


def explained(models: list[DayModel], predicted: F64) -> F64:
    """Return what the covariates' model predicts after the last day, float64[0 or 1, 96]."""
    return predicted[[each.name == Explained.name for each in models], -1]


def mixture(days: Days, names: list[str], predicted: F64, day: int) -> tuple[F64, F64]:
    """Return the weighted mean of predictions of a day ahead, float64[n, 96], and the last weights, float64[k, 96].

    Each row has the weights that were chosen by then, so past errors are those that forecasts would have had.

    A model that predicts NaN in a part of the day after the last one has no weight there.

    Args:
        days: the history.
        names: the models.
        predicted: what each model predicts after each day, float64[k, n, 96].
        day: how many days ahead, from 0.

    """
    last_week = of_last_week(days, day)
    guesses = {"yesterday": 1 - last_week, "seasonal_naive": last_week}
    first_guess = np.stack([guesses.get(name, np.zeros(len(days))) for name in names], axis=1)
    negligible = ROUNDING * DAY * float(np.abs(days.kwh).max())
    mixed, weights = np.empty_like(predicted[0]), np.zeros((len(predicted), DAY))
    came, known = days.ahead(day)
    for first, last in PARTS if day == 0 else ((0, DAY),):
        part = slice(first, last)
        usable = ~np.isnan(predicted[:, -1, part]).any(axis=1)
        found = predicted[usable][:, :, part]
        errors = (came[:, part] - found) * (known[:, part] > 0)
        best = _weights(errors, known[:, part].mean(axis=1), day + 1, first_guess[:, usable], negligible)
        mixed[:, part] = np.einsum("nk,kns->ns", best, found)
        weights[usable, part] = best[-1][:, None]
    return mixed, weights


def within_reach(days: Days, path: F64, plain_paths: F64, day: int, explained_paths: F64) -> F64:
    """Shift a day's path, float64[96], so that its total lies within reach of what the plain models predict.

    What covariates explain is within reach, too, if it is known.
    """
    came, known = days.ahead(day)
    off = np.abs((came - plain_paths) * (known > 0)).sum(axis=2)[:, known.any(axis=1)]
    if not off.size:
        return path
    room = REACH * float(np.median(off.min(axis=0)))
    explained_paths = explained_paths[~np.isnan(explained_paths).any(axis=1)]
    totals = np.concatenate([plain_paths[:, -1], explained_paths]).sum(axis=1)
    total = path.sum()
    shifted: F64 = path + (np.clip(total, totals.min() - room, totals.max() + room) - total) / len(path)
    return shifted


def _weights(errors: F64, known: F64, wait: int, first_guess: F64, negligible: float) -> F64:
    """Return the weights of models on each day, float64[n, k], at least 0, with the sum 1; chosen anew every week.

    They minimise the squared errors of the mean of the models: totals of the part and its single hours.

    Args:
        errors: of each model and day, float64[k, n, slots]; 0 where nothing is known.
        known: how much of each day is known, float64[n].
        wait: after how many days an error is known.
        first_guess: the weights without any errors, float64[n, k].
        negligible: errors up to this are only rounding, in kWh.

    """
    k, n, _ = errors.shape
    first = n // 3 if n < WEEK_DAYS else max(n // 3, WEEK_DAYS - 1)  # before that there is no last week
    known = np.where(np.arange(n) >= min(FIRST_DAYS, first), known, 0.0)
    totals = errors.sum(axis=2)
    size = np.abs(totals).min(axis=0)
    typical = TOO_LARGE * float(np.median(size[known > 0])) if known.any() else 0.0
    if typical <= negligible:
        return np.broadcast_to(_smallest(totals[:, known > 0], negligible), (n, k)) if known.any() else first_guess
    days = known * 0.5 ** (np.arange(n)[::-1] / HALF_LIFE)
    days = days * typical / np.maximum(np.abs(totals).mean(axis=0), typical)
    hours = np.stack([hourly(each) for each in errors]).reshape(k, n, -1)
    starts = np.arange(n - 1, -1, -WEEK_DAYS)[::-1]
    ends = np.maximum(starts - wait + 1, 0)
    products = [_scaled(_up_to(each, days, ends)) for each in (totals[:, :, None], hours)]
    squared = (1 - OF_HOURS) * products[0] + OF_HOURS * products[1]
    squared += squared * np.eye(k) * SHRINK
    doubt = (DOUBT / (DOUBT + np.concatenate([np.zeros(1), np.cumsum(known)])[ends])) ** 2
    best = doubt[:, None] * first_guess[starts] + (1 - doubt[:, None]) * _minimised(squared)
    week: I64 = np.searchsorted(starts, np.arange(n), "right") - 1
    found: F64 = np.where((week >= 0)[:, None], best[week], first_guess)
    return found


def _up_to(errors: F64, weight: F64, ends: I64) -> F64:
    """Return the weighted sums of products of errors, float64[k, n, h], up to each of the ends, float64[m, k, k]."""
    scaled = errors * np.sqrt(weight)[:, None]
    sums = np.zeros((len(ends), len(errors), len(errors)))
    for at, (start, end) in enumerate(pairwise([0, *ends.tolist()])):
        rows = scaled[:, start:end].reshape(len(errors), -1)
        sums[at] = rows @ rows.T
    summed: F64 = sums.cumsum(axis=0)
    return summed


def _smallest(totals: F64, negligible: float) -> F64:
    """Return equal weights of the models with the smallest errors: most often some are exact."""
    size = np.abs(totals).sum(axis=1)
    best = size <= size.min() + negligible * totals.shape[1]
    weights: F64 = best / best.sum()
    return weights


def _scaled(products: F64) -> F64:
    """Divide each matrix by its trace, float64[m, k, k]."""
    size = np.trace(products, axis1=1, axis2=2)[:, None, None]
    scaled: F64 = np.divide(products, size, out=np.zeros_like(products), where=size > 0)
    return scaled


def _minimised(squared: F64) -> F64:
    """Return the weights w with the smallest wᵀ s w of each s in `squared`, float64[m, k], by exponentiated gradients.

    All of them are at least 0 and add up to 1.
    """
    m, k, _ = squared.shape
    weights = np.full((m, k), 1 / k)
    squared = _scaled(squared) * k
    for _ in range(ROUNDS):
        slope = (squared @ weights[:, :, None])[:, :, 0]
        weights = weights * np.exp((weights * slope).sum(axis=1, keepdims=True) - slope)
        weights /= weights.sum(axis=1, keepdims=True)
    return weights


@dataclass(frozen=True, slots=True)
class Standing:
    """How a model did in the contest: WAPE of totals on past days, as fractions, and its weight, by time ahead."""

    model: str
    wape: dict[str, float | None]
    weight: dict[str, float]


SPANS = {"first_hour": (0, HOUR), "first_day": (0, DAY), "seventh_day": (6 * DAY, 7 * DAY)}
CONTEST_DAYS = 90


def contest(auto: Auto, history: History) -> list[Standing]:
    """Return how each model did on the last 90 days, and `auto` itself, best on the first day first."""
    grid = days_of(history)
    models = auto.candidates(grid)
    predictors = [each.predictor(grid) for each in models]
    names = [each.name for each in models]
    everybody = [*names, auto.name]
    wape: dict[str, dict[str, float | None]] = {name: {} for name in everybody}
    weight: dict[str, dict[str, float]] = {name: {} for name in everybody}
    for span, (first, last) in SPANS.items():
        day = first // DAY
        part = slice(first - day * DAY, last - day * DAY)
        predicted = np.stack([predict(day) for predict in predictors])
        mixed, shares = mixture(grid, names, predicted, day)
        means = [*shares[:, part].mean(axis=1).tolist(), 1.0]
        for name, path, share in zip(everybody, [*predicted, mixed], means, strict=True):
            wape[name][span], weight[name][span] = _wape(grid, path[:, part], day, part), share
    found = [Standing(name, wape[name], weight[name]) for name in everybody]
    return sorted(found, key=lambda each: each.wape["first_day"] if each.wape["first_day"] is not None else np.inf)


def _wape(days: Days, path: F64, day: int, part: slice) -> float | None:
    came, known = (column[-CONTEST_DAYS - day - 1 :, part] for column in days.ahead(day))
    seen = known > 0
    size = float(np.abs((came * seen).sum(axis=1)).sum())
    errors = np.where(seen, came - path[-len(came) :], 0.0).sum(axis=1)
    return float(np.abs(errors).sum()) / size if size else None
