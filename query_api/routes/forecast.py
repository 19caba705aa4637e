"""GET /forecast: the energy that a ship is expected to use."""

import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, NotRequired

from flask import Response, request
from prometheus_client import Counter
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict  # pydantic requires it before Python 3.12

from query_api.answers.columns import is_short
from query_api.answers.heavy import HeavyAnswers
from query_api.answers.rows import Row, json_response, number, numbers, timestamp
from query_api.forecast.forecast import Forecast
from query_api.forecast.models import ModelName, linear
from query_api.forecast.models.linear import Linear
from query_api.forecast.models.lstm import BeingTrained, Lstm
from query_api.forecast.models.seasonal_naive import SeasonalNaive
from query_api.forecast.service import Forecasts
from query_api.forecast.steps import DAY_S
from query_api.routes.parameters import ShipId, WindowParameters
from shared.domain.errors import Unavailable
from shared.domain.timestamps import US_PER_S
from shared.http.app import Routes, problem
from shared.http.openapi import JSON, RETRY_AFTER, Answer, Operation, Timestamp
from shared.http.openapi import problem as problem_answer
from shared.http.parameters import TimestampUs, parse
from shared.runtime.process import freeze_startup_objects
from shared.store.port import EnergyReader

MAX_DAYS = 366
TRAINING_RETRY_S = 15
FOLDER = "forecasts"
"""Where trained models are kept, in the data folder. It may be deleted at any time."""


class ForecastParameters(WindowParameters):
    """A ship, the window to forecast, and the model."""

    spaceship_id: ShipId
    start: Annotated[TimestampUs, Field(description="Start of the window. Only slots before it are used.")]
    end: Annotated[TimestampUs, Field(description=f"End of the window, at most {MAX_DAYS} days after `start`.")]
    model: Annotated[
        ModelName,
        Field(description="Ridge regression; the same slot a week before; a neural network, if it is installed."),
    ] = "linear"
    detail: Annotated[bool, Field(description="Adds the forecast of each slot.")] = False

    @field_validator("end")
    @classmethod
    def _not_too_long(cls, end: int, info: ValidationInfo) -> int:
        start = info.data.get("start")
        if start is not None and end - start > MAX_DAYS * DAY_S * US_PER_S:
            raise PydanticCustomError("length", "lies more than {days} days after start", {"days": MAX_DAYS})
        return end


class TrainedOn(TypedDict):
    """The slots that the model was trained on."""

    start: Timestamp
    end: Timestamp
    slots: int


class ExpectedSlot(TypedDict):
    """The expected energy of one slot, in kWh, with its 90 % interval."""

    datetime: Timestamp
    value: float
    lower: float
    upper: float


class Expected(TypedDict):
    """The expected energy of a window, in kWh, with its 90 % interval."""

    datetime: Annotated[Timestamp, Field(description="start of the window")]
    expected_consumption: float
    lower: float
    upper: float
    model: ModelName
    trained_on: TrainedOn
    data: NotRequired[Annotated[list[ExpectedSlot], Field(description="each slot; with `detail`")]]


FORECAST = Operation(
    path="/forecast",
    name="forecast",
    summary="The energy that a ship is expected to use",
    description="Only slots before `start` are used, so a window in the past is a back-test.",
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
OPERATIONS = (FORECAST,)


def routes(store: EnergyReader, errors: Counter, folder: Path | None, heavy: HeavyAnswers | None = None) -> Routes:
    """Build the route; `errors` counts queries for which the store is `Unavailable`.

    Trained models are kept in `folder`, or for None in memory only. Long windows with `detail` are `heavy` answers.
    """
    heavy = heavy or HeavyAnswers()
    routes = Routes("forecast", __name__, needs="read")
    models = (Linear(), SeasonalNaive(), Lstm(folder))
    forecasts = Forecasts(store, {each.name: each for each in models})

    @routes.serves(FORECAST)
    @errors.count_exceptions(Unavailable)
    def of_ship() -> Response:
        query = parse(ForecastParameters, request.args)
        start_s, end_s = query.window.start_s or 0, query.window.end_s or 0
        try:
            found = forecasts.forecast(query.model, query.spaceship_id, start_s, end_s)
        except BeingTrained as error:
            return problem(503, str(error), headers={"Retry-After": str(TRAINING_RETRY_S)})
        answer = _answer(found, query.model)
        if query.detail:
            with nullcontext() if is_short(query.window) else heavy.turn(request):
                answer["data"] = _rows(found)
        return json_response(answer)

    return routes


def warm_up() -> None:
    """Load the default model's library in the background, so that the first query does not wait for it."""

    def load() -> None:
        linear.warm_up()
        freeze_startup_objects()

    threading.Thread(target=load, name="warm-up", daemon=True).start()


def _answer(found: Forecast, model: str) -> dict[str, Any]:
    return {
        "datetime": timestamp(found.start_s),
        "expected_consumption": number(found.kwh),
        "lower": number(found.lower),
        "upper": number(found.upper),
        "model": model,
        "trained_on": {
            "start": timestamp(found.trained_from_s),
            "end": timestamp(found.trained_to_s),
            "slots": found.slots,
        },
    }


def _rows(found: Forecast) -> list[Row]:
    path = found.path
    columns = (path.start_s.tolist(), *map(numbers, (path.kwh, path.lower, path.upper)))
    return [
        {"datetime": timestamp(start_s), "value": kwh, "lower": lower, "upper": upper}
        for start_s, kwh, lower, upper in zip(*columns, strict=True)
    ]
