"""The query service's HTTP interface: GET /topusers, and what it counts."""

import json
from typing import Any

from flask import Response, request
from prometheus_client import CollectorRegistry, Counter

from query_api.answers.heavy import HeavyAnswers
from query_api.answers.rows import text, top_rows
from query_api.interface.energy import TOP
from query_api.parameters import TopParameters
from shared.domain.errors import Unavailable
from shared.domain.slots import Window
from shared.http.app import Routes
from shared.http.parameters import parse
from shared.store.port import EnergyReader

CACHE_KIB = 1024
"""Of SQLite's pages, for each connection: what lies on the disk next to one another is read but once."""


def store_errors(registry: CollectorRegistry) -> Counter:
    """Make the count of questions that the store did not answer."""
    return Counter("power_query_store_errors", "Questions that the store did not answer.", registry=registry)


def routes(store: EnergyReader, errors: Counter, heavy: HeavyAnswers | None = None) -> Routes:
    """Build the routes over a store; `errors` counts where it is `Unavailable`, `heavy` bounds the heavy answers."""
    heavy = heavy or HeavyAnswers()
    routes = Routes("query_api", __name__, needs="read")
    counted = errors.count_exceptions(Unavailable)

    @routes.serves(TOP)
    @counted
    def top_users() -> Response:
        asked = parse(TopParameters, request.args)
        with heavy.turn(request):  # its work grows with the fleet, too
            ships = store.top_ships(asked.window, asked.count)
            window = _closed(asked.window, store)
        rows = top_rows(ships, window, detail=asked.detail)
        return _json({"datetime": window and text(window.start_s or 0), "ships": rows})

    return routes


def _closed(window: Window, store: EnergyReader) -> Window | None:
    """Put the store's own bounds where a window is open; None where there is nothing to take them from."""
    if window.start_s is not None and window.end_s is not None:
        return window
    extent = store.extent()
    if extent is None:
        return window if window.start_s is not None else None
    start_s = extent.start_s if window.start_s is None else window.start_s
    return Window(start_s, extent.end_s if window.end_s is None else window.end_s)


def _json(answer: dict[str, Any]) -> Response:
    return Response(json.dumps(answer, separators=(",", ":")), mimetype="application/json")
