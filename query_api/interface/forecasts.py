"""What the question about the future takes and gives."""

from typing import (
    Annotated,
    Literal,
    NotRequired,  # pydantic wants these before Python 3.12
)

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from query_api.forecast.steps import DAY_S
from query_api.parameters import MomentUs, ShipId, WindowParameters
from shared.domain.timestamps import US_PER_S
from shared.http.openapi import JSON, RETRY_AFTER, Answer, Moment, Operation, problem

LONGEST_DAYS = 366


class ForecastParameters(WindowParameters):
    """One ship's window to look ahead to, and how."""

    spaceship_id: ShipId
    start: Annotated[MomentUs, Field(description="from here on; only slots before it are known")]
    end: Annotated[MomentUs, Field(description=f"to here, at most {LONGEST_DAYS} days later")]
    model: Annotated[
        Literal["linear", "seasonal_naive", "lstm"],
        Field(description="ridge regression; the same slot of the week before; a neural network, if it is installed"),
    ] = "linear"
    detail: Annotated[bool, Field(description="adds the path slot by slot")] = False

    @field_validator("end")
    @classmethod
    def _not_too_long(cls, end: int, info: ValidationInfo) -> int:
        start = info.data.get("start")
        if start is not None and end - start > LONGEST_DAYS * DAY_S * US_PER_S:
            raise PydanticCustomError("length", "lies more than {days} days after start", {"days": LONGEST_DAYS})
        return end


class TrainedOn(TypedDict):
    """From which of the ship's slots it is."""

    start: Moment
    end: Moment
    slots: int


class ExpectedSlot(TypedDict):
    """What is expected of one slot, in kWh, with its 90 % interval."""

    datetime: Moment
    value: float
    lower: float
    upper: float


class Expected(TypedDict):
    """What a ship is expected to use in the window, in kWh, with its 90 % interval."""

    datetime: Annotated[Moment, Field(description="where the window begins")]
    expected_consumption: float
    lower: float
    upper: float
    model: Literal["linear", "seasonal_naive", "lstm"]
    trained_on: TrainedOn
    data: NotRequired[Annotated[list[ExpectedSlot], Field(description="the path, with `detail`")]]


FORECAST = Operation(
    path="/forecast",
    name="forecast",
    summary="What a ship is expected to use",
    description="From its slots before `start` only: a window in the past is an honest back-test.",
    query=ForecastParameters,
    answers={
        200: Answer("The energy expected in the window.", {JSON: Expected}),
        422: problem("A parameter is not valid, there is less than a day of history, or the model is not installed."),
        503: problem("It is being trained, or too many ask, or the store is away: try again.", RETRY_AFTER),
    },
)
OPERATIONS = (FORECAST,)
