"""GET /forecast/fleet: the energy that the fleet or a group of ships is expected to use."""

import re
from collections.abc import Callable
from contextlib import closing
from typing import Annotated, Any, ClassVar, NotRequired

from flask import Response, request
from prometheus_client import Counter
from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic requires it before Python 3.12

from query_api.answers.heavy import HeavyAnswers
from query_api.answers.rows import Row, json_response, number, numbers, timestamp
from query_api.forecast.fleet import MAX_SHIPS, FleetForecast, FleetForecasts, Key
from query_api.forecast.models.auto import Auto
from query_api.forecast.steps import DAYS
from query_api.forecast.together import ShipShare
from query_api.routes.ahead import (
    AheadParameters,
    ExpectedSlot,
    Quantiles,
    TrainedOn,
    path_rows,
    quantiles_row,
    trained_on,
)
from shared.domain.clock import now_us as wall_clock_us
from shared.domain.errors import Unavailable
from shared.domain.readings import MAX_SHIP
from shared.http.app import Routes
from shared.http.openapi import JSON, RETRY_AFTER, Answer, Operation, Timestamp
from shared.http.openapi import problem as problem_answer
from shared.http.parameters import parse
from shared.store.port import EnergyReader

_SHIP = re.compile(r"\d{1,16}", re.ASCII)


def _ships(text: object) -> tuple[int, ...]:
    """Convert ids that are joined by commas; each is kept once, in ascending order."""
    parts = str(text).split(",", MAX_SHIPS)
    if len(parts) > MAX_SHIPS:
        raise PydanticCustomError("ships", "should be at most {most} ids", {"most": MAX_SHIPS})
    if not all(_SHIP.fullmatch(part) and int(part) <= MAX_SHIP for part in parts):
        raise PydanticCustomError("ships", "should be ids of ships, joined by commas: 1,2,3")
    return tuple(sorted(set(map(int, parts))))


class FleetParameters(AheadParameters):
    """The ships, and the window to forecast."""

    max_days: ClassVar[int] = DAYS

    ships: Annotated[tuple[int, ...] | None, BeforeValidator(_ships), WithJsonSchema({"type": "string"})] = Field(
        None,
        description=f"The ids of at most {MAX_SHIPS} ships, joined by commas; the whole fleet if omitted.",
        examples=["1,2,3"],
    )
    detail: Annotated[bool, Field(description="Adds the forecast of each slot and each ship.")] = False


class ShareOfShip(TypedDict):
    """What one ship is expected to use, in kWh, with its 90 % interval; these add up to the total."""

    spaceship_id: Annotated[int | None, Field(description="null: all others of the fleet together")]
    expected_consumption: float
    lower: float
    upper: float
    share: Annotated[float | None, Field(description="of the total; null if the total is 0")]


class ExpectedTogether(TypedDict):
    """The expected energy of several ships in a window, in kWh, with its 90 % interval."""

    datetime: Annotated[Timestamp, Field(description="start of the window")]
    expected_consumption: float
    lower: float
    upper: float
    quantiles: NotRequired[Quantiles]
    weights: Annotated[
        dict[str, float],
        Field(description="`sum`: of the forecast of the ships' sum; `ships`: of the sum of their forecasts"),
    ]
    trained_on: TrainedOn
    left_out: NotRequired[
        Annotated[
            list[int], Field(description="ships of the group that were silent for long, or have too little history")
        ]
    ]
    ships: NotRequired[Annotated[list[ShareOfShip], Field(description="the largest first; with `detail`")]]
    data: NotRequired[Annotated[list[ExpectedSlot], Field(description="each slot; with `detail`")]]


FLEET = Operation(
    path="/forecast/fleet",
    name="forecast_fleet",
    summary="The energy that the fleet or a group of ships is expected to use",
    description=f"Only slots before `start` are used. The window is at most {DAYS} days long.",
    query=FleetParameters,
    answers={
        200: Answer("The energy expected in the window.", {JSON: ExpectedTogether}),
        422: problem_answer("A parameter is invalid, or no ship has a day of history and any of it of late."),
        503: problem_answer("There are too many queries, or the store is unavailable: try again.", RETRY_AFTER),
    },
)
OPERATIONS = (FLEET,)


def routes(
    store: EnergyReader,
    errors: Counter,
    heavy: HeavyAnswers | None = None,
    now_us: Callable[[], int] = wall_clock_us,
) -> Routes:
    """Build the route; `errors` counts queries for which the store is `Unavailable`. Its answers are `heavy`."""
    heavy = heavy or HeavyAnswers()
    routes = Routes("fleet_forecast", __name__, needs="read")
    forecasts = FleetForecasts(store, Auto())

    @routes.serves(FLEET)
    @errors.count_exceptions(Unavailable)
    def of_fleet() -> Response:
        query = parse(FleetParameters, request.args)
        key = query.ships, *query.window(now_us()), query.quantiles
        return json_response(_answer(forecasts.find(key) or _made(key), query))

    def _made(key: Key) -> FleetForecast:
        with heavy.place(request) as place, forecasts.turn(), closing(forecasts.pieces(key)) as pieces:
            *_, found = place.in_turns(pieces)
        assert found is not None  # noqa: S101  # the last one is the forecast
        return found

    return routes


def _answer(forecast: FleetForecast, query: FleetParameters) -> dict[str, Any]:
    found = forecast.found
    whole, of_sum = found.whole, round(found.of_sum, 3)
    answer: dict[str, Any] = {
        "datetime": timestamp(whole.start_s),
        "expected_consumption": number(whole.kwh),
        "lower": number(whole.lower),
        "upper": number(whole.upper),
        **quantiles_row(query.quantiles, numbers(whole.quantiles)),
        "weights": {"sum": of_sum, "ships": round(1 - of_sum, 3)},
        "trained_on": trained_on(whole),
    }
    if forecast.left_out:
        answer["left_out"] = list(forecast.left_out)
    if query.detail:
        shares = sorted(found.shares, key=lambda each: (each.ship is None, -each.kwh))
        answer["ships"] = [_share(each, whole.kwh) for each in shares]
        answer["data"] = path_rows(whole, query.quantiles)
    return answer


def _share(each: ShipShare, total: float) -> Row:
    return {
        "spaceship_id": each.ship,
        "expected_consumption": number(each.kwh),
        "lower": number(each.lower),
        "upper": number(each.upper),
        "share": round(each.kwh / total, 4) if total else None,
    }
