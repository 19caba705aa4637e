"""The models of Nixtla's statsforecast, for `./power backtest --reference`: what forecasts are measured against.

They forecast hours: MSTL and AutoTheta from eight weeks, AutoARIMA, with the approximation that R uses, from four.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from query_api.forecast.fit import Fit, Model
from query_api.forecast.history import History
from query_api.forecast.steps import DAY, WEEK
from shared.domain.errors import InvalidInput

HOUR = 4
HOURS_AHEAD = 14 * 24
DAYS = 56
NAMES = "SeasonalNaive", "AutoTheta", "MSTL+AutoETS", "MSTL+AutoARIMA", "AutoARIMA"


class Reference:
    """A model of statsforecast. It has no past forecasts, so its intervals are not scored."""

    def __init__(self, name: str, days: int, make: Callable[[], Any]) -> None:
        """Train on so many days."""
        self.name, self._days, self._make = name, days, make

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:  # noqa: ARG002  # equal for all ships
        """See `Model`."""
        hours = history.kwh[-self._days * DAY :]
        hours = hours[len(hours) % HOUR :].reshape(-1, HOUR).sum(axis=1)
        path = np.repeat(self._make().forecast(hours, HOURS_AHEAD)["mean"], HOUR) / HOUR
        return Fit(path, np.empty(0, np.int64), np.empty((0, len(path))))


def reference_models() -> list[Model]:
    """Make the models.

    Raises:
        InvalidInput: statsforecast is not installed.

    """
    if find_spec("statsforecast") is None:
        raise InvalidInput("--reference needs statsforecast: .venv/bin/python -m pip install 'statsforecast>=2'")
    from statsforecast import models as of  # noqa: PLC0415  # only for those who ask for it

    seasons = [DAY // HOUR, WEEK // HOUR]
    makers: list[Callable[[], Any]] = [
        lambda: of.SeasonalNaive(seasons[1]),
        lambda: of.AutoTheta(seasons[0]),
        lambda: of.MSTL(seasons, trend_forecaster=of.AutoETS(model="ZZN")),
        lambda: of.MSTL(seasons, trend_forecaster=of.AutoARIMA()),
        lambda: of.AutoARIMA(season_length=seasons[0], approximation=True),
    ]
    days = [DAYS] * (len(NAMES) - 1) + [DAYS // 2]
    return [Reference(*each) for each in zip(NAMES, days, makers, strict=True)]
