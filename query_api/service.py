"""Builds the query service: the store that it reads and its routes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge

from query_api.answers.heavy import PLACES, HeavyAnswers
from query_api.daily import Daily
from query_api.forecast.accuracy import Accuracies
from query_api.metrics import show_accuracy, store_errors
from query_api.routes import (
    access,
    covariates,
    energy,
    fleet_forecast,
    forecast,
    forecast_accuracy,
    page,
    ships,
    top_users,
)
from query_api.routes.stream import MAX_STREAMS, Streams
from shared.http import health
from shared.http.app import Routes
from shared.runtime.settings import QuerySettings
from shared.store.choice import details, open_store

CACHE_KIB = 1024
"""SQLite's page cache of each connection: neighbouring slots are on the same pages."""


@dataclass(frozen=True, slots=True)
class QueryService:
    """The query service, for the process that serves it.

    Attributes:
        routes: its HTTP routes.
        checks: the readiness checks.
        details: what `/readyz` tells besides.
        threads: how many server threads streams and heavy answers may take.
        begin: starts what runs in the background: loading what the first forecast would wait for, and `Daily`.
        let_go: ends all streams; safe to call from a signal handler.

    """

    routes: tuple[Routes, ...]
    checks: Mapping[str, health.Check]
    details: Callable[[], Mapping[str, str]]
    threads: int
    begin: Callable[[], None]
    let_go: Callable[[], None]


@contextmanager
def query_service(settings: QuerySettings, registry: CollectorRegistry) -> Iterator[QueryService]:
    """Build the service, and close its store at the end.

    Raises:
        InvalidSettings: the store cannot be used.
        Unavailable: the store does not answer.

    """
    store = open_store(settings, cache_kib=CACHE_KIB)
    errors = store_errors(registry)
    heavy = HeavyAnswers()
    taken = Gauge("power_query_heavy_answers", "Long answers being computed or sent.", registry=registry)
    taken.set_function(lambda: heavy.taken)
    streams = Streams(store, errors, registry, max_ahead_us=settings.max_ahead_us)
    accuracies = Accuracies()
    show_accuracy(accuracies, registry)
    daily = Daily(store, accuracies)
    routes = (
        top_users.routes(store, errors, heavy, max_ahead_us=settings.max_ahead_us),
        energy.routes(store, errors, heavy),
        streams.routes(),
        ships.routes(store, errors, heavy, max_ahead_us=settings.max_ahead_us, accuracies=accuracies),
        covariates.routes(store, errors),
        forecast.routes(store, errors, settings.data_dir / forecast.FOLDER, heavy),
        fleet_forecast.routes(store, errors, heavy),
        forecast_accuracy.routes(store, errors, heavy, accuracies=accuracies),
        access.routes(),
        page.routes(),
    )
    checks = {"store": health.is_available(store.ping)}

    def begin() -> None:
        forecast.warm_up()
        if settings.watch_forecasts:
            daily.start()

    try:
        yield QueryService(routes, checks, details(store), MAX_STREAMS + PLACES, begin, streams.end)
    finally:
        daily.stop()
        store.close()
