"""Forecasts the energy of a window from the slots before it."""

from dataclasses import dataclass

import numpy as np

from query_api.forecast.fit import Fit, Model
from query_api.forecast.history import History, history_of
from query_api.forecast.intervals import slots_off, total_off
from query_api.forecast.steps import DAY, STEPS, modelled
from shared.domain.columns import F64, I64
from shared.domain.slots import SLOT_S, Slots


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A forecast of each slot: start (seconds since 1970), kWh and its interval; columns of equal length."""

    start_s: I64
    kwh: F64
    lower: F64
    upper: F64


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
    _steps: I64
    _modelled: Path

    @property
    def path(self) -> Path:
        """The forecast of each slot. The intervals of slots do not add up to that of the total."""
        one, at = self._modelled, np.searchsorted(self._steps, modelled(self._ahead()))
        return Path(self.trained_to_s + self._ahead() * SLOT_S, one.kwh[at], one.lower[at], one.upper[at])

    def _ahead(self) -> I64:
        return np.arange(self.start_s - self.trained_to_s, self.end_s - self.trained_to_s, SLOT_S) // SLOT_S


def forecast(model: Model, slots: Slots, start_s: int, end_s: int) -> Forecast:
    """Forecast a window from one ship's slots before `start_s`.

    Raises:
        InvalidInput: there is less than a day of them.

    """
    history = history_of(slots, start_s)
    steps = np.arange(start_s - history.end_s, end_s - history.end_s, SLOT_S, dtype=np.int64) // SLOT_S
    unique = np.unique(modelled(steps))
    fit = model.fit(int(slots.ship[0]), history, np.unique(unique // DAY).tolist())
    clipped = np.clip(fit.path, *history.bounds()), np.clip(fit.past, *history.bounds())
    fit = Fit(clipped[0], fit.origins, clipped[1], fit.weights, fit.instead)
    apart = np.zeros(STEPS) if fit.instead is None else fit.instead - fit.path
    slot_kwh, kwh = fit.path[unique], fit.path[modelled(steps)].sum()
    below, above = slots_off(history, fit, unique)
    below, above = np.minimum(below, apart[unique]), np.maximum(above, apart[unique])
    path = Path(unique, slot_kwh, *_interval(history, slot_kwh, below, above, 1))
    (low, high), other = total_off(history, fit, steps), float(apart[modelled(steps)].sum())
    lower, upper = map(float, _interval(history, kwh, min(low, other), max(high, other), len(steps)))
    known = history.start_s, history.end_s, history.slots
    return Forecast(start_s, end_s, float(kwh), lower, upper, *known, _weights(fit, modelled(steps)), unique, path)


def _weights(fit: Fit, steps: I64) -> dict[str, float] | None:
    if fit.weights is None or not len(steps):
        return None
    return dict(zip(fit.weights.names, fit.weights.shares[:, steps].mean(axis=1).tolist(), strict=True))


def _interval(history: History, kwh: F64, below: F64 | float, above: F64 | float, slots: int) -> tuple[F64, F64]:
    """Return the interval around the energy of `slots` slots, limited to the bounds of the history."""
    low, high = (bound * slots for bound in history.bounds())
    return np.minimum(np.maximum(kwh + below, low), kwh), np.maximum(np.minimum(kwh + above, high), kwh)
