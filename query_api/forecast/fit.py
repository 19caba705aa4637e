"""The result of a model: a path ahead, and the paths that it would have predicted in the past."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from query_api.forecast.history import History
from query_api.forecast.steps import DAY, STEPS
from shared.domain.columns import F64, I64


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The models of a weighted mean, and the weight of each for each slot ahead, float64[k, STEPS]."""

    names: tuple[str, ...]
    shares: F64


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Paths in kWh per slot; NaN on days that were not requested.

    Attributes:
        path: from the end of the history on, float64[STEPS].
        origins: positions in the history at the same time of day as its end, latest first, int64[m].
        past: the path predicted at each origin by a model that was not fitted to what followed, float64[m, STEPS].
        weights: of which models it is a weighted mean, if it is one.
        instead: another path that is as likely, if there is one: intervals contain it.

    """

    path: F64
    origins: I64
    past: F64
    weights: Weights | None = None
    instead: F64 | None = None


class Model(Protocol):
    """A forecast model."""

    @property
    def name(self) -> str:
        """Its name in the parameter `model`."""
        ...

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:
        """Fit the model to a ship's history, and predict these days (0 to 13)."""
        ...


def origins_of(history: History, reach: int) -> I64:
    """Return the end and the positions whole days before it that have at least `reach` slots before them."""
    n = len(history)
    return np.arange(n, min(reach, n) - 1, -DAY, dtype=np.int64)


def no_paths(m: int) -> F64:
    """Return paths of NaN, float64[m, STEPS]."""
    return np.full((m, STEPS), np.nan)


def stretch(values: F64, origins: I64, first: int, last: int) -> F64:
    """Return the values from `first` to before `last`, relative to each origin, float64[m, last - first].

    Beyond either end, the nearest value is repeated.
    """
    found: F64 = values[np.clip(origins[:, None] + np.arange(first, last), 0, len(values) - 1)]
    return found
