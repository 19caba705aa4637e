"""GET /forecast: the energy that a ship is expected to use; GET /forecast/models: how good the models are for it."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, NotRequired

from flask import Response, request
from prometheus_client import Counter
from pydantic import Field
from typing_extensions import TypedDict  # pydantic requires it before Python 3.12

from query_api.answers.columns import is_short
from query_api.answers.heavy import HeavyAnswers
from query_api.answers.rows import json_response, number, numbers, timestamp
from query_api.forecast.chained import one_blas_thread
from query_api.forecast.forecast import Forecast
from query_api.forecast.models import ModelName
from query_api.forecast.models.auto import Standing
from query_api.forecast.models.choice import standard_models
from query_api.forecast.models.lstm import BeingTrained, Lstm
from query_api.forecast.service import Forecasts
from query_api.routes.ahead import (
    MAX_DAYS,
    AheadParameters,
    ExpectedSlot,
    Quantiles,
    TrainedOn,
    path_rows,
    quantiles_row,
    trained_on,
)
from query_api.routes.parameters import QueryParameters, ShipId
from shared.domain.clock import now_us as wall_clock_us
from shared.domain.errors import Unavailable
from shared.domain.slots import Window
from shared.http.app import Routes, problem
from shared.http.openapi import JSON, RETRY_AFTER, Answer, Operation, Timestamp
from shared.http.openapi import problem as problem_answer
from shared.http.parameters import TimestampUs, parse
from shared.runtime.process import freeze_startup_objects
from shared.store.port import EnergyReader

TRAINING_RETRY_S = 15
FOLDER = "forecasts"
"""Where trained models are kept, in the data folder. It may be deleted at any time."""


class ForecastParameters(AheadParameters):
    """A ship, the window to forecast, and the model."""

    spaceship_id: ShipId
    model: Annotated[
        ModelName,
        Field(description="`auto` is a weighted mean of the others, except `lstm`, which must be installed."),
    ] = "auto"
    detail: Annotated[bool, Field(description="Adds the forecast of each slot.")] = False


class Expected(TypedDict):
    """The expected energy of a window, in kWh, with its 90 % interval."""

    datetime: Annotated[Timestamp, Field(description="start of the window")]
    expected_consumption: float
    lower: float
    upper: float
    quantiles: NotRequired[Quantiles]
    model: ModelName
    weights: NotRequired[Annotated[dict[str, float], Field(description="mean weight of each model; with `auto`")]]
    trained_on: TrainedOn
    data: NotRequired[Annotated[list[ExpectedSlot], Field(description="each slot; with `detail`")]]


FORECAST = Operation(
    path="/forecast",
    name="forecast",
    summary="The energy that a ship is expected to use",
    description="Only slots before `start` are used, so a window in the past is a back-test. It is at most "
    f"{MAX_DAYS} days long.",
    query=ForecastParameters,
    answers={
        200: Answer("The energy expected in the window.", {JSON: Expected}),
        422: problem_answer(
            "A parameter is invalid, there is less than a day of history, or the model is not installed."
        ),
        503: problem_answer(
            "The model is being trained, there are too many queries, or the store is unavailable: try again.",
            RETRY_AFTER,
        ),
    },
)


class ContestParameters(QueryParameters):
    """A ship, and the end of the history."""

    spaceship_id: ShipId
    start: TimestampUs | None = Field(None, description="Only slots before it are used; now if omitted.")


class Accuracy(TypedDict):
    """A number for each time ahead: the first hour, the first day and the seventh day."""

    first_hour: float | None
    first_day: float | None
    seventh_day: float | None


class Candidate(TypedDict):
    """How good a model was on the ship's last 90 days, and its weight in `auto`."""

    model: str
    wape: Annotated[Accuracy, Field(description="sum of absolute errors over the sum of energy; null if unknown")]
    weight: Accuracy


class Contest(TypedDict):
    """The contest of the models, best first."""

    spaceship_id: int
    datetime: Annotated[Timestamp, Field(description="end of the history")]
    models: list[Candidate]


CONTEST = Operation(
    path="/forecast/models",
    name="forecast_models",
    summary="How good the forecast models are for a ship",
    description="Each model forecasts the last 90 days, each from what was known before it.",
    query=ContestParameters,
    answers={
        200: Answer("The models, the best for the first day first.", {JSON: Contest}),
        422: problem_answer("A parameter is invalid, or there is less than a day of history."),
        503: problem_answer("There are too many queries, or the store is unavailable: try again.", RETRY_AFTER),
    },
)
OPERATIONS = (FORECAST, CONTEST)


def routes(
    store: EnergyReader,
    errors: Counter,
    folder: Path | None,
    heavy: HeavyAnswers | None = None,
    now_us: Callable[[], int] = wall_clock_us,
) -> Routes:
    """Build the routes; `errors` counts queries for which the store is `Unavailable`.

    Trained models are kept in `folder`, or for None in memory only. Long windows with `detail` are `heavy` answers.
    """
    heavy = heavy or HeavyAnswers()
    routes = Routes("forecast", __name__, needs="read")
    models = [*standard_models(), Lstm(folder)]
    forecasts = Forecasts(store, {each.name: each for each in models})

    @routes.serves(FORECAST)
    @errors.count_exceptions(Unavailable)
    def of_ship() -> Response:
        query = parse(ForecastParameters, request.args)
        start_s, end_s = query.window(now_us())
        try:
            found = forecasts.forecast(query.model, query.spaceship_id, start_s, end_s, query.quantiles)
        except BeingTrained as error:
            return problem(503, str(error), headers={"Retry-After": str(TRAINING_RETRY_S)})
        answer = _answer(found, query)
        if query.detail:
            with nullcontext() if is_short(Window(start_s, end_s)) else heavy.turn(request):
                answer["data"] = path_rows(found, query.quantiles)
        return json_response(answer)

    @routes.serves(CONTEST)
    @errors.count_exceptions(Unavailable)
    def contest_of_ship() -> Response:
        query = parse(ContestParameters, request.args)
        at_us = now_us() if query.start is None else query.start
        end_s, standings = forecasts.contest(query.spaceship_id, Window.around(at_us, None).start_s or 0)
        models = [_standing(each) for each in standings]
        return json_response({"spaceship_id": query.spaceship_id, "datetime": timestamp(end_s), "models": models})

    return routes


def warm_up() -> None:
    """Load a library in the background, so that the first query does not wait for it."""

    def load() -> None:
        one_blas_thread()
        freeze_startup_objects()

    threading.Thread(target=load, name="warm-up", daemon=True).start()


def _answer(found: Forecast, query: ForecastParameters) -> dict[str, Any]:
    weights = {} if found.weights is None else {"weights": {k: round(v, 3) for k, v in found.weights.items()}}
    return {
        "datetime": timestamp(found.start_s),
        "expected_consumption": number(found.kwh),
        "lower": number(found.lower),
        "upper": number(found.upper),
        **quantiles_row(query.quantiles, numbers(found.quantiles)),
        "model": query.model,
        **weights,
        "trained_on": trained_on(found),
    }


def _standing(found: Standing) -> dict[str, Any]:
    wape = {span: None if share is None else round(share, 4) for span, share in found.wape.items()}
    return {
        "model": found.model,
        "wape": wape,
        "weight": {span: round(share, 3) for span, share in found.weight.items()},
    }
