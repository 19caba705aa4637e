"""Plain models: the last day again, the last week again, and recent means with what is usual for the weekday."""

from typing import Final

from query_api.forecast.days import Days, Predictor, back_to_weekday, earlier, fit_days, weekday_means
from query_api.forecast.fit import Fit
from query_api.forecast.history import History


class Yesterday:
    """Forecasts by repeating the last day."""

    name: Final = "yesterday"
    needed: Final = 1

    def predictor(self, days: Days) -> Predictor:
        """See `DayModel`."""
        return lambda _: days.kwh

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:  # noqa: ARG002  # equal for all ships
        """See `Model`."""
        return fit_days(self, history, days)


class LastWeek:
    """Forecasts by repeating the last week: a candidate of `auto`. By itself it is `seasonal_naive`."""

    name: Final = "seasonal_naive"
    needed: Final = 7

    def predictor(self, days: Days) -> Predictor:
        """See `DayModel`."""
        return lambda day: earlier(days.kwh, back_to_weekday(day))


class RecentMean:
    """Forecasts the mean of recent days, with what is usual for the weekday: exponential smoothing."""

    needed: Final = 2

    def __init__(self, name: str, half_life: float) -> None:
        """Count a day half that is so many days older."""
        self.name, self._half_life = name, half_life

    def predictor(self, days: Days) -> Predictor:
        """See `DayModel`."""
        return weekday_means(days.kwh, self._half_life)

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:  # noqa: ARG002  # equal for all ships
        """See `Model`."""
        return fit_days(self, history, days)


def recent_days() -> RecentMean:
    """Make the mean that follows a change within days."""
    return RecentMean("recent_days", 5.0)


def recent_weeks() -> RecentMean:
    """Make the mean that follows a change within weeks."""
    return RecentMean("recent_weeks", 20.0)
