"""What the questions about ships take and give."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict  # pydantic wants it before Python 3.12

from query_api.parameters import Bounds, ShipId
from shared.http.openapi import JSON, Answer, Moment, Operation, problem
from shared.http.parameters import DIGITS

MAX_SHIPS = 10_000
MAX_READINGS = 100_000


class ShipsParameters(BaseModel):
    """A page of the list of ships."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    after: ShipId | None = Field(None, description="only ships with a greater id: `next` of the page before")
    limit: Annotated[int, Field(ge=1, le=MAX_SHIPS), DIGITS] = 1000


class ShipPath(BaseModel):
    """One ship."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spaceship_id: ShipId


class ReadingsQuery(Bounds):
    """A page of readings."""

    limit: Annotated[int, Field(ge=1, le=MAX_READINGS), DIGITS] = 1000


class ReadingsParameters(ShipPath, ReadingsQuery):
    """A page of one ship's readings."""


class ShipRow(TypedDict):
    """What is told of a ship."""

    spaceship_id: int
    first_reading: Moment
    last_reading: Annotated[Moment | None, Field(description="up to now; null if all its readings are later")]
    ahead: Annotated[
        Moment | None,
        Field(
            description="its newest reading that lies more than 15 minutes ahead of now, by a wrong clock; mostly null"
        ),
    ]
    cadence: Annotated[float | None, Field(description="seconds between its newest readings: the median")]
    energy_24h: Annotated[float | None, Field(description="kWh in the last day; null where nothing is known of it")]
    energy_30d: Annotated[float | None, Field(description="kWh in the last 30 days")]
    whole_share: Annotated[
        float | None, Field(description="share of its slots, first to last up to now, that are wholly covered")
    ]
    silent_for: Annotated[float | None, Field(description="seconds since its last reading")]


class Ships(TypedDict):
    """Ships in the order of their ids."""

    ships: list[ShipRow]
    next: Annotated[int | None, Field(description="what to pass as `after` for those that follow; null at the end")]


class ReadingRow(TypedDict):
    """A reading as it is stored."""

    datetime: Moment
    value: float
    units: Literal["kW", "kWh"]
    sent_at: Moment


class ShipReadings(TypedDict):
    """One ship's readings in the order of time."""

    spaceship_id: int
    data: list[ReadingRow]
    next: Annotated[Moment | None, Field(description="the `start` of what follows; null at the end")]


_UNKNOWN = problem("Nobody has heard of that ship.")

SHIPS = Operation(
    path="/ships",
    name="ships",
    summary="All ships: who reports, how often, how well, and since when not",
    query=ShipsParameters,
    answers={200: Answer("A page of them.", {JSON: Ships})},
)
SHIP = Operation(
    path="/ships/<spaceship_id>",
    name="ship",
    summary="One ship: how often it reports, how well, and since when not",
    places=ShipPath,
    answers={200: Answer("What is known of it.", {JSON: ShipRow}), 404: _UNKNOWN},
)
READINGS = Operation(
    path="/ships/<spaceship_id>/readings",
    name="ship_readings",
    summary="One ship's raw readings",
    places=ShipPath,
    query=ReadingsQuery,
    answers={200: Answer("A page of those in the window.", {JSON: ShipReadings}), 404: _UNKNOWN},
)
OPERATIONS = (SHIPS, SHIP, READINGS)
