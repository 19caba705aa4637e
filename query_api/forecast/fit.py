"""What a model makes of a history: the path ahead, and the paths that it would have given in the past."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from query_api.forecast.history import History
from query_api.forecast.steps import DAY, STEPS
from shared.domain.readings import F64, I64


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Paths in kWh per slot; NaN on the days that nobody asked for.

    Attributes:
        path: from the end of the history on, float64[STEPS].
        origins: places in the history's grid, at the same time of day as its end, the latest first, int64[m].
        past: what was to be expected at each of them, by a model that had not seen what came then, float64[m, STEPS].

    """

    path: F64
    origins: I64
    past: F64


class Model(Protocol):
    """Something that forecasts."""

    @property
    def name(self) -> str:
        """What it is called in questions and answers."""
        ...

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:
        """Learn a ship's history, and look ahead on these days (0 to 13)."""
        ...


def origins_of(history: History, reach: int) -> I64:
    """Give the places a whole number of days before the end (the end included) with so many slots before them."""
    n = len(history)
    return np.arange(n, min(reach, n) - 1, -DAY, dtype=np.int64)


def nothing(m: int) -> F64:
    """Give paths that say nothing yet, float64[m, STEPS]."""
    return np.full((m, STEPS), np.nan)


def stretch(values: F64, origins: I64, first: int, last: int) -> F64:
    """Give the values from `first` to before `last`, counted from each origin, float64[m, last - first].

    Beyond either end of the values stands the nearest one.
    """
    found: F64 = values[np.clip(origins[:, None] + np.arange(first, last), 0, len(values) - 1)]
    return found
