"""GET /topusers: the ships that used most energy."""

from collections.abc import Callable
from typing import Annotated, NotRequired

from flask import Response, request
from prometheus_client import Counter
from pydantic import Field
from typing_extensions import TypedDict  # pydantic requires it before Python 3.12

from query_api.answers.heavy import HeavyAnswers
from query_api.answers.rows import json_response, number, timestamp
from query_api.routes.parameters import WindowParameters
from shared.contract.acceptance import MAX_AHEAD_US
from shared.domain.clock import now_us as wall_clock_us
from shared.domain.errors import Unavailable
from shared.domain.slots import LONGEST_US, SLOT_S, Window, slot_ceil_us
from shared.domain.timestamps import US_PER_S
from shared.http.app import Routes
from shared.http.openapi import JSON, Answer, Operation, Timestamp
from shared.http.parameters import DIGITS, parse
from shared.store.port import EnergyReader, ShipEnergy

MAX_COUNT = 100_000


class TopParameters(WindowParameters):
    """A window, and how many ships."""

    count: Annotated[int, Field(ge=1, le=MAX_COUNT, description="How many ships at most."), DIGITS] = 3


class TopShip(TypedDict):
    """The energy that one ship used."""

    spaceship_id: int
    consumption: Annotated[float, Field(description="in kWh")]
    covered_share: NotRequired[
        Annotated[float, Field(description="share of the window for which the energy is known; with `detail`")]
    ]


class TopShips(TypedDict):
    """The ships that used most energy, in descending order, ties by id."""

    datetime: Annotated[Timestamp | None, Field(description="start of the window; null if no slot is stored")]
    ships: list[TopShip]


TOP = Operation(
    path="/topusers",
    name="top_users",
    summary="The ships that used most energy",
    query=TopParameters,
    answers={
        200: Answer(
            "The ships.",
            {JSON: TopShips},
            example={"datetime": "2018-08-24T00:00:00Z", "ships": [{"spaceship_id": 1, "consumption": 12}]},
        )
    },
)
OPERATIONS = (TOP,)


def routes(
    store: EnergyReader,
    errors: Counter,
    heavy: HeavyAnswers | None = None,
    now_us: Callable[[], int] = wall_clock_us,
    max_ahead_us: int = MAX_AHEAD_US,
) -> Routes:
    """Build the route; `errors` counts queries for which the store is `Unavailable`, `heavy` limits heavy answers.

    Readings may be `max_ahead_us` ahead of the clock, `now_us` (microseconds since 1970).
    """
    heavy = heavy or HeavyAnswers()
    routes = Routes("query_api", __name__, needs="read")

    @routes.serves(TOP)
    @errors.count_exceptions(Unavailable)
    def top_users() -> Response:
        query = parse(TopParameters, request.args)
        until_s = slot_ceil_us(now_us() + max_ahead_us + LONGEST_US) // US_PER_S
        with heavy.turn(request):  # its work grows with the number of ships
            is_open = query.window.start_s is None or query.window.end_s is None
            extent = store.extent() if is_open else None
            window = _up_to(until_s, query.window, extent, store)
            ships = store.top_ships(window, query.count)
            closed = _closed(window, extent)
        rows = top_rows(ships, closed, detail=query.detail)
        return json_response({"datetime": closed and timestamp(closed.start_s or 0), "ships": rows})

    return routes


def top_rows(ships: list[ShipEnergy], window: Window | None, *, detail: bool) -> list[TopShip]:
    """Return a row for each ship; with `detail` and a window with two bounds also the share that is covered."""
    rows: list[TopShip] = [{"spaceship_id": each.ship, "consumption": number(each.kwh)} for each in ships]
    if detail and window is not None and window.start_s is not None and window.end_s is not None:
        length_s = max(window.end_s - window.start_s, SLOT_S)
        for row, each in zip(rows, ships, strict=True):
            row["covered_share"] = number(each.covered_s / length_s)
    return rows


def _up_to(until_s: int, window: Window, extent: Window | None, store: EnergyReader) -> Window:
    """End an open window with the last slot that a right clock can have reached, if there are slots after `until_s`.

    No reading speaks for more than `LONGEST_US`. A window that begins later asks for just these slots.
    """
    if window.end_s is not None or (window.start_s or 0) >= until_s:
        return window
    if extent is None or extent.bounds_s()[1] <= until_s:
        return window  # an open window is the quickest
    last_s = store.last_slot_s(None, Window(window.start_s, until_s))
    return Window(window.start_s, (window.start_s or 0) if last_s is None else last_s + SLOT_S)


def _closed(window: Window, extent: Window | None) -> Window | None:
    """Replace missing bounds of a window by those of the stored slots, the extent; None if there is no start then."""
    if window.start_s is not None and window.end_s is not None:
        return window
    if extent is None:
        return window if window.start_s is not None else None
    start_s = extent.start_s if window.start_s is None else window.start_s
    end_s = extent.end_s if window.end_s is None else window.end_s
    return Window(start_s, end_s) if (start_s or 0) < (end_s or 0) or window.start_s is not None else None
