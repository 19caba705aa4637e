"""For each hour ahead, a ridge regression with few features, learned from all hours of the day at once.

Hours near the predicted time of day count more. The target is the difference from the recent mean of that time of day;
the features are what other means and lags say, and how far the last hours and days were off: their energy, and its
square root, in which peaks count less. For what was tried see docs/decisions/023-forecast-contest.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from query_api.forecast.chained import LEAST_DAYS, blocks, one_blas_thread
from query_api.forecast.days import (
    HOUR,
    HOURS,
    Days,
    Predictor,
    back_to_weekday,
    earlier,
    fit_days,
    hourly,
    recent_mean,
    weekday_means,
)
from query_api.forecast.fit import Fit
from query_api.forecast.history import History
from shared.domain.columns import F64, I64, Bools

HALF_LIVES = 1.5, 5.0, 30.0
"""Days after which a day counts half, of the means that are features; the second is the base."""
SHAPE_HALF_LIFE = 21.0
"""The same, of the shape within an hour."""
TAUGHT_HALF_LIFE = 150.0
"""The same, of a row in training."""
LAST_HOURS = ((0, 1), (1, 3), (3, 6), (6, 12), (12, 24), (24, 72), (72, 168))
"""Spans before the origin, over which the difference from what was usual is averaged."""
LAST_SLOTS = ((0, 1), (1, 4), (4, 12), (12, 96))
"""The same for square roots, in slots. A peak of ten times the usual load does not go on ten times as long."""
ROOTS_HALF_LIFE = 15.0
NEAR_HOURS = 2
NEAR_WEIGHT = 11.0
PENALTIES = 10.0, 100.0, 1000.0


class Pooled:
    """Forecasts by ridge regressions of hours."""

    name: Final = "pooled"
    needed: Final = 14

    def predictor(self, days: Days) -> Predictor:
        """See `DayModel`."""
        inputs = inputs_of(days)
        return lambda day: predicted(days, inputs, day)

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:  # noqa: ARG002  # equal for all ships
        """See `Model`."""
        return fit_days(self, history, days)


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What all days ahead share, in units of `scale` where not said otherwise.

    Attributes:
        scale: kWh.
        hours: energy of each hour, float64[n, 24].
        means: recent means of `HALF_LIVES`, float64[n, 24] each.
        usual: the recent mean with the weekday ahead.
        off: how far the last slot before each hour, `LAST_HOURS` and the roots were off, float64[24 n + 1, 12].
        shape: each slot's difference from a quarter of its hour, in kWh, float64[n, 96].

    """

    scale: float
    hours: F64
    means: tuple[F64, ...]
    usual: Predictor
    off: F64
    shape: F64


@dataclass(frozen=True, slots=True, eq=False)
class Further:
    """Features besides those of `Inputs`.

    Attributes:
        ahead: of each hour of the day ahead, float64[24 n, q].
        known: which of them are known of the hours after the last day, bool[24, q]; others are not used.
        off: as `Inputs.off`, float64[24 n + 1, r].

    """

    ahead: F64
    known: Bools
    off: F64


def inputs_of(days: Days) -> Inputs:
    """Return what is used of a history for all days ahead."""
    one_blas_thread()
    kwh = hourly(days.kwh)
    scale = float(np.abs(kwh - kwh.mean(axis=0)).mean()) or 1.0
    hours = kwh / scale
    usual = weekday_means(hours, HALF_LIVES[1])
    off = last_off(hours - _expected(hours, usual(0)), LAST_HOURS)
    slots = HOUR / scale * (days.kwh - _expected(days.kwh, recent_mean(days.kwh, HALF_LIVES[1])))
    last_slot = np.concatenate([np.zeros(1), slots.reshape(-1, HOUR)[:, -1]])
    shape = recent_mean(days.kwh - np.repeat(kwh, HOUR, axis=1) / HOUR, SHAPE_HALF_LIFE)
    means = tuple(recent_mean(hours, each) for each in HALF_LIVES)
    off = np.concatenate([last_slot[:, None], off, _roots_off(days.kwh)], axis=1)
    return Inputs(scale, hours, means, usual, off, shape)


def _expected(rows: F64, after: F64) -> F64:
    """Return what was expected of each row after the one before it; of the first row, itself."""
    return np.concatenate([rows[:1], after[:-1]])


def last_off(off: F64, spans: Sequence[tuple[int, int]], every: int = 1) -> F64:
    """Average over spans before each `every`-th position and before the end, float64[m + 1, len(spans)]."""
    totals = np.concatenate([np.zeros(1), np.cumsum(off.ravel())])
    at = np.arange(0, len(totals), every)
    means = [(totals[np.maximum(at - a, 0)] - totals[np.maximum(at - b, 0)]) / (b - a) for a, b in spans]
    return np.stack(means, axis=1)


def _roots_off(kwh: F64) -> F64:
    """Return how far the square roots of the slots before each hour were off, of size 1, float64[24 n + 1, 4]."""
    roots = np.sign(kwh) * np.sqrt(np.abs(kwh))
    off = roots - _expected(roots, recent_mean(roots, ROOTS_HALF_LIFE))
    return last_off(off / (float(np.abs(off).mean()) or 1.0), LAST_SLOTS, HOUR)


def predicted(days: Days, inputs: Inputs, day: int, further: Further | None = None) -> F64:
    """Return what is predicted after each day for a day ahead, float64[n, 96]."""
    base = inputs.means[1]
    came, weight = days.ahead(day)
    target = (hourly(came) / inputs.scale - base).ravel()
    taught = hourly(weight).ravel() / HOUR
    taught *= 0.5 ** ((len(taught) - np.arange(len(taught))) / HOURS / TAUGHT_HALF_LIFE)
    features, off = _features(inputs, day), inputs.off
    own = features.shape[1]
    if further is not None:
        features = np.concatenate([features, further.ahead], axis=1)
        off = np.concatenate([off, further.off], axis=1)
    at, until_end = features.shape[1], off[-1:].repeat(HOURS, axis=0)
    off = np.concatenate([off, until_end])  # at each hour, how far the hours before it were off
    rows = np.concatenate([features, off[: len(target)], target[:, None]], axis=1)
    known = np.maximum(blocks(len(days)) - day, 0) * HOURS
    found = np.empty_like(base)
    for hour in range(HOURS):
        if further is not None:
            rows[:, own:at] = further.ahead * further.known[hour]
        rows[:, at:-1] = off[HOURS - hour :][: len(target)]
        near = (taught.reshape(-1, HOURS) * _nearness(hour)).ravel()
        found[:, hour] = _regressed(rows, near, known, hour)
    return np.repeat((base + found) * inputs.scale, HOUR, axis=1) / HOUR + inputs.shape


def _nearness(hour: int) -> F64:
    """Return how much each hour of the day counts for one of them, float64[24]."""
    apart = np.abs((np.arange(HOURS) - hour + HOURS // 2) % HOURS - HOURS // 2)
    return np.where(apart <= NEAR_HOURS, NEAR_WEIGHT, 1.0)


def _features(inputs: Inputs, day: int) -> F64:
    """Return what else might be expected of each hour of the day ahead, relative to the base, float64[24 n, 6]."""
    short, base, long = inputs.means
    back = back_to_weekday(day)
    weeks = earlier(inputs.hours, back), earlier(inputs.hours, back + 7)
    return np.stack([each - base for each in (inputs.hours, short, long, *weeks, inputs.usual(day))], -1).reshape(
        base.size, -1
    )


def _regressed(rows: F64, weight: F64, known: I64, hour: int) -> F64:
    """Predict the last column of an hour's rows from the others, float64[n].

    Of the rows, `known` are known before each block of days. The penalty is the one with the smallest past errors.
    """
    wanted, last = rows[hour::HOURS, :-1], rows.shape[1] - 1
    n = len(wanted)
    if not len(known):
        return np.zeros(n)
    cuts = zip(np.concatenate([[0], known[:-1]]).tolist(), known.tolist(), strict=True)
    grams = np.stack([(rows[a:b].T * weight[a:b]) @ rows[a:b] for a, b in cuts]).cumsum(axis=0)
    block = np.searchsorted(blocks(n), np.arange(n), "right") - 1
    use = (block >= 0) & (known[block] >= LEAST_DAYS * HOURS)
    best, least = np.zeros(n), np.inf
    for penalty in PENALTIES:
        factors = np.linalg.solve(grams[:, :last, :last] + penalty * np.eye(last), grams[:, :last, last:])[:, :, 0]
        found = np.where(use, (wanted * factors[block]).sum(axis=1), 0.0)
        loss = float(weight[hour::HOURS] @ (found - rows[hour::HOURS, last]) ** 2)
        if loss < least:
            best, least = found, loss
    return best
