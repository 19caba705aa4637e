"""The models that need nothing to be installed."""

from query_api.forecast.fit import Model
from query_api.forecast.models.auto import Auto
from query_api.forecast.models.linear import Linear
from query_api.forecast.models.plain import Yesterday, recent_days, recent_weeks
from query_api.forecast.models.pooled import Pooled
from query_api.forecast.models.seasonal_naive import SeasonalNaive


def standard_models() -> list[Model]:
    """Make one of each: the plain ones, the regressions, and `auto`."""
    return [Yesterday(), SeasonalNaive(), recent_days(), recent_weeks(), Linear(), Pooled(), Auto()]
