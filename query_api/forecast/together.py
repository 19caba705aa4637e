"""Forecasts the energy of several ships together, so that it is the sum of what they are expected to use.

There are two forecasts of the sum: that of its own series, in which much of the ships' noise cancels out, and the sum
of the ships' forecasts, each of which knows its ship. The answer is their mean, weighted by the inverse of their past
squared errors. What it differs from the ships' sum is spread over the ships, in proportion to their own squared errors
(Wickramasuriya et al., Optimal forecast reconciliation, JASA 2019, with a diagonal matrix).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from query_api.forecast.conformal import HALF_LIFE
from query_api.forecast.fit import Fit, Model
from query_api.forecast.forecast import Forecast, fitted, from_fit, steps_of
from query_api.forecast.history import History
from query_api.forecast.intervals import LEAST_KNOWN, errors_of
from query_api.forecast.steps import DAY, STEPS, modelled
from shared.domain.columns import F64, Bools
from shared.domain.covariates import Table
from shared.domain.slots import SLOT_S, Slots

MOST = 0.9
"""The share of the ships' energy for which past errors must be known, so that a day counts for their sum."""


@dataclass(frozen=True, slots=True)
class ShipShare:
    """What one ship (None: all others) is expected to use in the window, and its interval, in kWh."""

    ship: int | None
    kwh: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """The forecast of several ships: `whole.kwh` is the sum of `shares`; `of_sum` is the weight of the sum's series."""

    whole: Forecast
    shares: tuple[ShipShare, ...]
    of_sum: float


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The forecast of one series of n slots.

    Attributes:
        own: its own forecast.
        path: the expected energy of each slot, float64[n].
        errors: those of the windows 1 to m days before, 0 where unknown, float64[m, n].
        known: which of them are known, bool[m, n].
        apart: how far another path that is as likely is from it, float64[n].
        least: the least that the total may be.

    """

    own: Forecast
    path: F64
    errors: F64
    known: Bools
    apart: F64
    least: float


def part_of(model: Model, slots: Slots, start_s: int, end_s: int, covariates: Table | None = None) -> Part:
    """Forecast one series; raises what `forecast` does."""
    history, fit = fitted(model, slots, start_s, end_s, covariates)
    return _part(history, fit, from_fit(history, fit, start_s, end_s))


def _part(history: History, fit: Fit, own: Forecast) -> Part:
    steps = steps_of(history, own.start_s, own.end_s)
    errors, weight = errors_of(history, fit, steps)
    known, path = weight > 0, fit.path[modelled(steps)]
    apart = np.zeros(len(steps)) if fit.instead is None else fit.instead[modelled(steps)] - path
    return Part(own, path, np.where(known, errors, 0.0), known, apart, history.bounds()[0] * len(steps))


def mean_square(errors: F64, known: Bools) -> float:
    """Return the mean square of the errors of totals, the latest first; recent ones count more.

    Days of which less than half is known do not count.
    """
    weight = 0.5 ** (np.arange(len(errors)) / HALF_LIFE) * (known.sum(axis=1) >= LEAST_KNOWN * errors.shape[1])
    totals = np.where(known, errors, 0.0).sum(axis=1)
    return float(weight @ totals**2 / weight.sum()) if weight.any() else 0.0


class Sum:
    """The sum of the forecasts of parts, which are added one by one. Their errors are kept as a sum only."""

    def __init__(self, start_s: int, end_s: int) -> None:
        """Start with no part, for a window of whole slots."""
        self.start_s, self.end_s, slots = start_s, end_s, (end_s - start_s) // SLOT_S
        self.path, self.apart, self.errors = np.zeros(slots), np.zeros(slots), np.zeros((0, slots))
        self._known_kwh = np.zeros(0)
        self._parts: list[tuple[int | None, Forecast, float, float]] = []

    def __len__(self) -> int:
        """Count the parts."""
        return len(self._parts)

    def add(self, ship: int | None, part: Part) -> None:
        """Add a part."""
        m = len(part.errors)
        missing = max(m - len(self.errors), 0)
        self.errors = np.pad(self.errors, ((0, missing), (0, 0)))
        self._known_kwh = np.pad(self._known_kwh, (0, missing))
        self.errors[:m] += part.errors
        self._known_kwh[:m] += abs(part.own.kwh)
        self.path, self.apart = self.path + part.path, self.apart + part.apart
        self._parts.append((ship, part.own, mean_square(part.errors, part.known), part.least))

    def days(self) -> int:
        """Return for how many days before the window the errors of most parts are known."""
        most = MOST * sum(abs(own.kwh) for _, own, _, _ in self._parts)
        return int((self._known_kwh >= most).sum())

    def shares(self, total: float) -> tuple[ShipShare, ...]:
        """Return what each part is expected to use, so that the sum is `total`; its interval moves along."""
        if not self._parts:
            return ()
        rows = [(own.kwh, squared, min(least, own.lower)) for _, own, squared, least in self._parts]
        own, squared, least = np.array(rows).T
        kwh = _moved(own, squared, least, total)
        columns = (self._parts, kwh.tolist(), (kwh - own).tolist(), least.tolist())
        return tuple(
            ShipShare(part[0], at, min(max(part[1].lower + by, bound), at), max(part[1].upper + by, at))
            for part, at, by, bound in zip(*columns, strict=True)
        )


def _moved(own: F64, squared: F64, least: F64, total: float) -> F64:
    """Return numbers that add up to `total`: uncertain ones move most, and none below its least."""
    size = squared if squared.any() else np.ones_like(own)
    moved: F64 = np.maximum(own + (total - own.sum()) * size / size.sum(), least)
    if (least >= 0).all() and moved.any():
        moved *= total / moved.sum()
    else:
        moved += (total - moved.sum()) / len(moved)
    return moved


def together(model: Model, slots: Slots, parts: Sum, quantiles: Sequence[float]) -> Together:
    """Return the forecast of a series, by a model, and of all its parts, whose own forecasts are known.

    Raises:
        InvalidInput: there is less than a day of the series.

    """
    start_s, end_s = parts.start_s, parts.end_s
    history, fit = fitted(model, slots, start_s, end_s)
    own = _part(history, fit, from_fit(history, fit, start_s, end_s))
    days = min(parts.days(), len(own.errors))
    errors, of_parts, known = own.errors[:days], parts.errors[:days], own.known[:days]
    weight = _weight(mean_square(errors, known), mean_square(of_parts, known))
    path, errors, apart = (
        weight * of_sum + (1 - weight) * of_all
        for of_sum, of_all in ((own.path, parts.path), (errors, of_parts), (own.apart, parts.apart))
    )
    history = _up_to(history, start_s)
    whole = from_fit(history, _as_fit(history, path, errors, apart), start_s, end_s, quantiles)
    return Together(whole, parts.shares(whole.kwh), weight)


def _weight(of_sum: float, of_parts: float) -> float:
    """Return the weight of the first of two forecasts, by their mean squared errors."""
    return of_parts / (of_sum + of_parts) if of_sum + of_parts > 0 else 0.5


def _up_to(history: History, start_s: int) -> History:
    """Return the history with unknown slots up to `start_s`, so that all days end there."""
    missing = (start_s - history.end_s) // SLOT_S
    kwh, weight = (np.pad(column, (0, missing)) for column in (history.kwh, history.weight))
    return History(history.start_s, kwh, weight, history.slots)


def _as_fit(history: History, path: F64, errors: F64, apart: F64) -> Fit:
    """Return a fit that has this path and these past errors."""
    n = len(path)
    origins = len(history) - DAY * np.arange(1, len(errors) + 1, dtype=np.int64)
    past = np.full((len(errors), STEPS), np.nan)
    at = np.minimum(origins[:, None] + np.arange(n), len(history) - 1)
    past[:, :n] = history.kwh[at] - errors
    whole = np.full(STEPS, np.nan)
    whole[:n] = np.clip(path, *history.bounds())
    instead = None
    if apart.any():
        instead = whole.copy()
        instead[:n] += apart
    return Fit(whole, origins, past, None, instead)
