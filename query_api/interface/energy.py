"""What the questions about energy take and give."""

from typing import (
    Annotated,
    Literal,
    NotRequired,  # pydantic wants these before Python 3.12
)

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from query_api.parameters import ShipParameters, SlotParameters, StreamParameters, TopParameters
from shared.http.openapi import JSON, RETRY_AFTER, Answer, Content, Moment, Operation, problem

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
EVENTS = "text/event-stream"

Covered = Annotated[float, Field(description="for how many seconds it is known; with `detail`")]
Provisional = Annotated[
    bool, Field(description="whether it leans on a newest reading, and so will change; with `detail`")
]
Length = Annotated[float, Field(description="seconds of the window in an hour, a day or a month; with `detail`")]
Start = Annotated[Moment, Field(description="where it begins; in another zone than UTC with that zone's offset")]


class ShipSlot(TypedDict):
    """One ship's energy in a slot, or in an hour, a day or a month."""

    datetime: Start
    value: Annotated[float, Field(description="in kWh")]
    covered_seconds: NotRequired[Covered]
    provisional: NotRequired[Provisional]
    seconds: NotRequired[Length]


class ShipEnergy(TypedDict):
    """One ship's energy in the order of time."""

    spaceship_id: int
    units: Literal["kWh"]
    data: list[ShipSlot]


class FleetSlot(TypedDict):
    """The fleet's energy in a slot, or in an hour, a day or a month."""

    datetime: Start
    sum: Annotated[float, Field(description="over the ships that have the slot, in kWh")]
    avg: Annotated[float, Field(description="of the ships that have the slot, in kWh")]
    covered_seconds: NotRequired[Covered]
    provisional: NotRequired[Provisional]
    ships: NotRequired[Annotated[int, Field(description="how many have the slot, or the most of any; with `detail`")]]
    whole_ships: NotRequired[
        Annotated[int, Field(description="how many of them cover all of it, or the fewest of any; with `detail`")]
    ]
    seconds: NotRequired[Length]


class FleetEnergy(TypedDict):
    """The fleet's energy in the order of time."""

    units: Literal["kWh"]
    data: list[FleetSlot]


class TopShip(TypedDict):
    """What one ship used."""

    spaceship_id: int
    consumption: Annotated[float, Field(description="in kWh")]
    covered_share: NotRequired[
        Annotated[float, Field(description="the share of the window that its readings speak for; with `detail`")]
    ]


class TopShips(TypedDict):
    """The ships that used most, greatest first, ties by id."""

    datetime: Annotated[Moment | None, Field(description="where the window begins; null where there is no slot")]
    ships: list[TopShip]


EVENT: Content = {
    "type": "object",
    "description": "each event; its `data` is JSON",
    "properties": {
        "event": {"type": "string", "enum": ["slot", "gone"]},
        "id": {"type": "string", "description": "where listening began: for `Last-Event-ID`"},
        "data": {"type": "string"},
    },
}


class Kept(BaseModel):
    """What the asker has of the answer already, and in which form it likes one."""

    if_none_match: str | None = Field(None, alias="If-None-Match", description="the `ETag` of what it has")


class Resumed(BaseModel):
    """What a listener has heard."""

    last_event_id: str | None = Field(None, alias="Last-Event-ID", description="the last `id` that it has seen")


def _in_any_form(content: Content, description: str, example: object) -> dict[int, Answer]:
    forms: dict[str, Content] = {
        JSON: content,
        CSV: {"type": "string", "description": "a line of names, then one for each row (RFC 4180)"},
        PARQUET: {"type": "string", "format": "binary"},
    }
    headers = {"ETag": "another one once the answer is"}
    return {
        200: Answer(description, forms, headers, example),
        304: Answer("It is what `If-None-Match` names.", headers=headers),
        406: problem("None of the forms that `Accept` names is there."),
    }


SHIP = Operation(
    path="/data",
    name="ship_energy",
    summary="One ship's energy",
    description="Slots of 15 minutes, or their sums. A slot that nobody spoke for is not in the list.",
    query=ShipParameters,
    headers=Kept,
    answers=_in_any_form(
        ShipEnergy,
        "What it used in the window.",
        {
            "spaceship_id": 1,
            "units": "kWh",
            "data": [
                {"datetime": "2018-08-24T00:00:00Z", "value": 3},
                {"datetime": "2018-08-24T00:15:00Z", "value": 3},
                {"datetime": "2018-08-24T00:30:00Z", "value": 3},
                {"datetime": "2018-08-24T00:45:00Z", "value": 3},
            ],
        },
    ),
)
FLEET = Operation(
    path="/data/fleet",
    name="fleet_energy",
    summary="The fleet's energy",
    description="Per slot over the ships that have it, or their sums.",
    query=SlotParameters,
    headers=Kept,
    answers=_in_any_form(
        FleetEnergy,
        "What it used in the window.",
        {
            "units": "kWh",
            "data": [
                {"datetime": "2018-08-24T00:00:00Z", "sum": 3, "avg": 3},
                {"datetime": "2018-08-24T00:15:00Z", "sum": 3, "avg": 3},
                {"datetime": "2018-08-24T00:30:00Z", "sum": 3, "avg": 3},
                {"datetime": "2018-08-24T00:45:00Z", "sum": 3, "avg": 3},
            ],
        },
    ),
)
STREAM = Operation(
    path="/data/stream",
    name="ship_changes",
    summary="One ship's slots as they change",
    description=(
        "Server-sent events: `slot` with a slot as `/data` with `detail` tells it, whether it is new or another one "
        "now, and `gone` with the `datetime` of one that is no more. Open for up to an hour."
    ),
    query=StreamParameters,
    headers=Resumed,
    answers={
        200: Answer("All since `start`, and then what changes.", {EVENTS: EVENT}),
        503: problem("Too many listen, or the store is away.", RETRY_AFTER),
    },
)
TOP = Operation(
    path="/topusers",
    name="top_users",
    summary="The ships that used most",
    query=TopParameters,
    answers={
        200: Answer(
            "Those ships.",
            {JSON: TopShips},
            example={"datetime": "2018-08-24T00:00:00Z", "ships": [{"spaceship_id": 1, "consumption": 12}]},
        )
    },
)
OPERATIONS = (SHIP, FLEET, STREAM, TOP)
