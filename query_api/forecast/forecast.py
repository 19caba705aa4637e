"""Forecasts the energy of a window from the slots before it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from query_api.forecast.conformal import TAIL
from query_api.forecast.fit import Fit, Model
from query_api.forecast.history import History, history_of
from query_api.forecast.intervals import slots_off, total_off
from query_api.forecast.steps import DAY, DAY_S, modelled
from shared.domain.columns import F64, I64
from shared.domain.covariates import Table
from shared.domain.slots import SLOT_S, Slots

MEDIAN = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A forecast of each slot: start (seconds since 1970), kWh and its interval; columns of equal length n.

    Its quantiles are float64[k, n].
    """

    start_s: I64
    kwh: F64
    lower: F64
    upper: F64
    quantiles: F64


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """The expected energy of the window `[start_s, end_s)`; `lower` ≤ `kwh` ≤ `upper`, in kWh.

    Attributes:
        start_s: the window's start, seconds since 1970.
        end_s: its end.
        kwh: the total.
        lower: the 5 % quantile of the total.
        upper: the 95 % quantile of the total.
        trained_from_s: start of the history that the model was fitted to.
        trained_to_s: its end.
        slots: how many of its slots are known.
        weights: the mean weight of each model in the window, if the forecast is a weighted mean of several.
        quantiles: of the total, those that were requested, float64[k].

    """

    start_s: int
    end_s: int
    kwh: float
    lower: float
    upper: float
    trained_from_s: int
    trained_to_s: int
    slots: int
    weights: dict[str, float] | None
    quantiles: F64
    _steps: I64
    _modelled: Path

    @property
    def path(self) -> Path:
        """The forecast of each slot. The intervals of slots do not add up to that of the total."""
        one, at = self._modelled, np.searchsorted(self._steps, modelled(self._ahead()))
        start_s = self.trained_to_s + self._ahead() * SLOT_S
        return Path(start_s, one.kwh[at], one.lower[at], one.upper[at], one.quantiles[:, at])

    def _ahead(self) -> I64:
        return np.arange(self.start_s - self.trained_to_s, self.end_s - self.trained_to_s, SLOT_S) // SLOT_S


def forecast(  # noqa: PLR0913, PLR0917  # the last two are optional
    model: Model,
    slots: Slots,
    start_s: int,
    end_s: int,
    quantiles: Sequence[float] = (),
    covariates: Table | None = None,
) -> Forecast:
    """Forecast a window from one ship's slots before `start_s`, and its covariates of any time.

    `quantiles` are the shares of those that are wanted besides the interval, ascending.

    Raises:
        InvalidInput: there is less than a day of them.

    """
    history, fit = fitted(model, slots, start_s, end_s, covariates)
    return from_fit(history, fit, start_s, end_s, quantiles)


def fitted(
    model: Model, slots: Slots, start_s: int, end_s: int, covariates: Table | None = None
) -> tuple[History, Fit]:
    """Return one ship's history before `start_s`, and a model fitted to it; raises what `forecast` does."""
    history = history_of(slots, start_s, covariates)
    days = np.unique(modelled(steps_of(history, start_s, end_s)) // DAY)
    fit = model.fit(int(slots.ship[0]), history, days.tolist())
    clipped = np.clip(fit.path, *history.bounds()), np.clip(fit.past, *history.bounds())
    return history, Fit(clipped[0], fit.origins, clipped[1], fit.weights, fit.instead)


def as_of(history: History, fit: Fit, end_s: int) -> tuple[History, Fit] | None:
    """Return what a fit says of an earlier end of the history, made from what was known then.

    None if that end is at another time of day, or less than a day after the history's start.
    """
    days, rest_s = divmod(history.end_s - end_s, DAY_S)
    if rest_s or not 0 < days <= len(fit.origins):
        return None
    then = history.before(int(fit.origins[days - 1]))
    return then, Fit(fit.past[days - 1], fit.origins[days:], fit.past[days:])


def steps_of(history: History, start_s: int, end_s: int) -> I64:
    """Return the slots of a window as steps."""
    return np.arange(start_s - history.end_s, end_s - history.end_s, SLOT_S, dtype=np.int64) // SLOT_S


def from_fit(history: History, fit: Fit, start_s: int, end_s: int, quantiles: Sequence[float] = ()) -> Forecast:
    """Return the forecast of a window that a fit makes."""
    steps = steps_of(history, start_s, end_s)
    unique = np.unique(modelled(steps))
    shares = np.array([TAIL, 1 - TAIL, *quantiles])
    apart = None if fit.instead is None else fit.instead - fit.path
    slot_kwh = fit.path[unique]
    off, other = slots_off(history, fit, unique, shares), None if apart is None else apart[unique]
    found = _limited(history, slot_kwh, _with_other(off, other, shares), 1)
    path = Path(unique, slot_kwh, np.minimum(found[0], slot_kwh), np.maximum(found[1], slot_kwh), found[2:])
    made = total_of(history, fit, steps, quantiles)
    known = history.start_s, history.end_s, history.slots
    return Forecast(start_s, end_s, *made[:3], *known, _weights(fit, modelled(steps)), made[3], unique, path)


def total_of(
    history: History, fit: Fit, steps: I64, quantiles: Sequence[float] = ()
) -> tuple[float, float, float, F64]:
    """Return the total of a window, its lower and its upper end, and its quantiles, float64[k]."""
    shares = np.array([TAIL, 1 - TAIL, *quantiles])
    kwh = fit.path[modelled(steps)].sum()
    off = total_off(history, fit, steps, shares)[:, None]
    other = None if fit.instead is None else (fit.instead - fit.path)[modelled(steps)].sum(keepdims=True)
    found = _limited(history, kwh, _with_other(off, other, shares), len(steps))[:, 0]
    return float(kwh), float(min(found[0], kwh)), float(max(found[1], kwh)), found[2:]


def _weights(fit: Fit, steps: I64) -> dict[str, float] | None:
    if fit.weights is None or not len(steps):
        return None
    return dict(zip(fit.weights.names, fit.weights.shares[:, steps].mean(axis=1).tolist(), strict=True))


def _with_other(off: F64, other: F64 | None, shares: F64) -> F64:
    """Widen quantiles, float64[k, n], so that the interval contains another path, float64[n], if there is one."""
    if other is None:
        return off
    outwards = (shares - MEDIAN)[:, None]
    part = other * np.abs(outwards) / (MEDIAN - TAIL)  # all of it at the ends of the interval
    return np.where(outwards < 0, np.minimum(off, np.minimum(part, 0)), np.maximum(off, np.maximum(part, 0)))


def _limited(history: History, kwh: F64, off: F64, slots: int) -> F64:
    """Return quantiles around the energy of `slots` slots, limited to the bounds of the history, float64[k, n]."""
    low, high = (bound * slots for bound in history.bounds())
    return np.clip(kwh + off, low, high)
