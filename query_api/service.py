"""The query service's parts, put together: the store that it reads, and the routes over it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Gauge

from query_api import app, forecasts, ships, slot_routes
from query_api.heavy import PLACES, HeavyAnswers
from query_api.page import serving
from query_api.stream import MOST, Streams
from shared import health
from shared.http import Routes
from shared.settings import QuerySettings
from shared.store.choice import open_store


@dataclass(frozen=True, slots=True)
class QueryService:
    """What a process that serves it needs of it.

    Attributes:
        routes: of its HTTP interface.
        checks: what has to hold for it to be ready.
        threads: how many of the server's its listeners and heavy answers may take.
        warm_up: makes ready, beside the first requests, what these would have to wait for.
        let_go: has nobody listen any more; may be called from a signal's handler.

    """

    routes: tuple[Routes, ...]
    checks: Mapping[str, health.Check]
    threads: int
    warm_up: Callable[[], None]
    let_go: Callable[[], None]


@contextmanager
def query_service(settings: QuerySettings, registry: CollectorRegistry) -> Iterator[QueryService]:
    """Put it together, and take it apart in the end.

    Raises:
        InvalidSettings: the store cannot be used.
        Unavailable: it does not answer.

    """
    store = open_store(settings, cache_kib=app.CACHE_KIB)
    errors = app.store_errors(registry)
    heavy = HeavyAnswers()
    taken = Gauge("power_query_heavy_answers", "Long answers being computed or sent.", registry=registry)
    taken.set_function(lambda: heavy.taken)
    streams = Streams(store, errors, registry, max_ahead_us=settings.max_ahead_us)
    routes = (
        app.routes(store, errors, heavy),
        slot_routes.routes(store, errors, heavy),
        streams.routes(),
        ships.routes(store, errors, heavy, max_ahead_us=settings.max_ahead_us),
        forecasts.routes(store, errors, settings.data_dir / forecasts.FOLDER, heavy),
        serving.routes(),
    )
    checks = {"store": health.answers(store.ping)}
    try:
        yield QueryService(routes, checks, MOST + PLACES, forecasts.warm_up, streams.end)
    finally:
        store.close()
