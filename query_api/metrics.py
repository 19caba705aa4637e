"""The metrics that several routes count in, and those of what runs in the background."""

import time
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge

from query_api.forecast.accuracy import Accuracies, Accuracy


def store_errors(registry: CollectorRegistry) -> Counter:
    """Return a new counter of queries that failed because the store was `Unavailable`."""
    return Counter("power_query_store_errors", "Queries that the store did not answer.", registry=registry)


def show_accuracy(found: Accuracies, registry: CollectorRegistry) -> None:
    """Add gauges of how good the fleet's forecasts were; NaN until that is known."""
    ships = Gauge("power_forecast_watched_ships", "Ships whose forecasts were compared.", registry=registry)
    wape = Gauge("power_forecast_wape", "Absolute errors over energy, of all ships' last 30 days.", registry=registry)
    coverage = Gauge("power_forecast_coverage", "The share of these days in their interval.", registry=registry)

    def now() -> tuple[int, Accuracy]:
        return found.of_fleet(time.time())

    ships.set_function(lambda: now()[0])
    wape.set_function(lambda: _or_nan(now()[1].wape))
    coverage.set_function(lambda: _or_nan(now()[1].coverage))


def _or_nan(share: float | None) -> float:
    return nan if share is None else share
