"""GET /forecast/accuracy: how good the forecasts of a ship's last days were."""

from collections.abc import Callable
from contextlib import closing
from typing import Annotated, Any

from flask import Response, request
from prometheus_client import Counter
from pydantic import Field
from typing_extensions import TypedDict  # pydantic requires it before Python 3.12

from query_api.answers.heavy import HeavyAnswers
from query_api.answers.rows import json_response, number, timestamp
from query_api.forecast.accuracy import Accuracies, Accuracy, WatchedDay, accuracy_of
from query_api.forecast.models.auto import Auto
from query_api.forecast.watch import Watch
from query_api.routes.parameters import QueryParameters, ShipId
from shared.domain.clock import now_us as wall_clock_us
from shared.domain.errors import Unavailable
from shared.domain.timestamps import US_PER_S
from shared.http.app import Routes
from shared.http.openapi import JSON, RETRY_AFTER, Answer, Operation, Timestamp
from shared.http.openapi import problem as problem_answer
from shared.http.parameters import TimestampUs, parse
from shared.store.port import EnergyReader


class AccuracyParameters(QueryParameters):
    """A ship, and the end of the days."""

    spaceship_id: ShipId
    start: TimestampUs | None = Field(None, description="Only whole days before it count; now if omitted.")


class WatchedRow(TypedDict):
    """What a day used, and what was expected of it, in kWh, with its 90 % interval."""

    datetime: Annotated[Timestamp, Field(description="start of the day")]
    value: float
    expected_consumption: float
    lower: float
    upper: float


class Watched(TypedDict):
    """How good the forecasts of the last days were."""

    spaceship_id: int
    days: Annotated[int, Field(description="how many of the last 30 days count")]
    wape: Annotated[
        float | None, Field(description="sum of absolute errors over the sum of energy; null if there is none")
    ]
    coverage: Annotated[float | None, Field(description="share of days in their interval; null if no day counts")]
    data: Annotated[list[WatchedRow], Field(description="the days that count")]


ACCURACY = Operation(
    path="/forecast/accuracy",
    name="forecast_accuracy",
    summary="How good the forecasts of the last 30 days were",
    description="Each of the 30 whole days (UTC) before `start` is forecast from the slots before that day. A day "
    "counts if at least 90 % of it is known.",
    query=AccuracyParameters,
    answers={
        200: Answer("The days, and their mean errors.", {JSON: Watched}),
        503: problem_answer("There are too many queries, or the store is unavailable: try again.", RETRY_AFTER),
    },
)
OPERATIONS = (ACCURACY,)


def routes(
    store: EnergyReader,
    errors: Counter,
    heavy: HeavyAnswers | None = None,
    now_us: Callable[[], int] = wall_clock_us,
    accuracies: Accuracies | None = None,
) -> Routes:
    """Build the route; `errors` counts queries for which the store is `Unavailable`. Its answers are `heavy`.

    Days in `accuracies` are not forecast again.
    """
    heavy = heavy or HeavyAnswers()
    routes = Routes("forecast_accuracy", __name__, needs="read")
    watch = Watch(store, Auto(), accuracies)

    @routes.serves(ACCURACY)
    @errors.count_exceptions(Unavailable)
    def accuracy_of_ship() -> Response:
        query = parse(AccuracyParameters, request.args)
        at_us = now_us() if query.start is None else query.start
        days = watch.days(query.spaceship_id, at_us // US_PER_S)
        with heavy.place(request) as place, watch.turn(), closing(days):
            *_, found = place.in_turns(days)
        return json_response(_watched(query.spaceship_id, found))

    return routes


def shares(accuracy: Accuracy) -> dict[str, float | None]:
    """Return the members `wape` and `coverage`."""
    found = {"wape": accuracy.wape, "coverage": accuracy.coverage}
    return {name: None if share is None else round(share, 4) for name, share in found.items()}


def _watched(ship: int, days: list[WatchedDay]) -> dict[str, Any]:
    rows = [
        {
            "datetime": timestamp(day.start_s),
            "value": number(day.kwh),
            "expected_consumption": number(day.expected.kwh),
            "lower": number(day.expected.lower),
            "upper": number(day.expected.upper),
        }
        for day in days
    ]
    return {"spaceship_id": ship, "days": len(days), **shares(accuracy_of(days)), "data": rows}
