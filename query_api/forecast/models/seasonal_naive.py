"""The baseline: the same slot a week before, or a day before if there is less than a week of history."""

from typing import Final

from query_api.forecast.fit import Fit, no_paths, origins_of, stretch
from query_api.forecast.history import History
from query_api.forecast.steps import DAY, WEEK


class SeasonalNaive:
    """Forecasts by repeating the last week."""

    name: Final = "seasonal_naive"

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:  # noqa: ARG002  # it is not fitted
        """See `Model`."""
        period = WEEK if len(history) >= WEEK else DAY
        origins = origins_of(history, period)
        paths = no_paths(len(origins))
        for day in days:
            first = day * DAY % period - period
            paths[:, day * DAY : (day + 1) * DAY] = stretch(history.kwh, origins, first, first + DAY)
        return Fit(paths[0], origins[1:], paths[1:])
