"""The yardstick: what was a week ago comes again; before a week is known, what was a day ago."""

from typing import Final

from query_api.forecast.fit import Fit, nothing, origins_of, stretch
from query_api.forecast.history import History
from query_api.forecast.steps import DAY, WEEK


class SeasonalNaive:
    """Forecasts by repeating the last week."""

    name: Final = "seasonal_naive"

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:  # noqa: ARG002  # it learns nothing
        """See `Model`."""
        period = WEEK if len(history) >= WEEK else DAY
        origins = origins_of(history, period)
        paths = nothing(len(origins))
        for day in days:
            first = day * DAY % period - period
            paths[:, day * DAY : (day + 1) * DAY] = stretch(history.kwh, origins, first, first + DAY)
        return Fit(paths[0], origins[1:], paths[1:])
