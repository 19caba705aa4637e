"""What the questions about energy take and give."""

from typing import Literal

from pydantic import BaseModel, Field

from query_api.parameters import ShipParameters, TopParameters, WindowParameters
from shared.openapi import JSON, Answer, Moment, Operation

COVERED = "for how many seconds of the slot the energy is known; with `detail` only"
PROVISIONAL = "whether it leans on a ship's newest reading, and so will change; with `detail` only"


class ShipSlot(BaseModel):
    """One ship's energy in one slot."""

    datetime: Moment
    value: float = Field(description="in kWh")
    covered_seconds: float | None = Field(None, description=COVERED)
    provisional: bool | None = Field(None, description=PROVISIONAL)


class ShipEnergy(BaseModel):
    """One ship's energy, slot by slot."""

    spaceship_id: int
    units: Literal["kWh"]
    data: list[ShipSlot]


class FleetSlot(BaseModel):
    """The fleet's energy in one slot."""

    datetime: Moment
    sum: float = Field(description="over the ships that have the slot, in kWh")
    avg: float = Field(description="of the ships that have the slot, in kWh")
    covered_seconds: float | None = Field(None, description=COVERED)
    provisional: bool | None = Field(None, description=PROVISIONAL)
    ships: int | None = Field(None, description="how many have the slot; with `detail` only")
    whole_ships: int | None = Field(None, description="how many of them cover all of it; with `detail` only")


class FleetEnergy(BaseModel):
    """The fleet's energy, slot by slot."""

    units: Literal["kWh"]
    data: list[FleetSlot]


class TopShip(BaseModel):
    """What one ship used."""

    spaceship_id: int
    consumption: float = Field(description="in kWh")
    covered_share: float | None = Field(
        None, description="the share of the window, 0 to 1, that its readings speak for; with `detail` only"
    )


class TopShips(BaseModel):
    """The ships that used most, greatest first, ties by id."""

    datetime: Moment | None = Field(description="where the window begins; null where there is no slot at all")
    ships: list[TopShip]


SHIP = Operation(
    path="/data",
    name="ship_energy",
    summary="One ship's energy",
    description="Slots of 15 minutes in the order of time. A slot that nobody spoke for is not in the list.",
    query=ShipParameters,
    answers={
        200: Answer(
            "Its slots in the window.",
            {JSON: ShipEnergy},
            example={
                "spaceship_id": 1,
                "units": "kWh",
                "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 3}],
            },
        )
    },
)
FLEET = Operation(
    path="/data/fleet",
    name="fleet_energy",
    summary="The fleet's energy",
    description="Per slot, over the ships that have it.",
    query=WindowParameters,
    answers={200: Answer("The fleet's slots in the window.", {JSON: FleetEnergy})},
)
TOP = Operation(
    path="/topusers",
    name="top_users",
    summary="The ships that used most",
    query=TopParameters,
    answers={200: Answer("Those ships.", {JSON: TopShips})},
)

OPERATIONS = (SHIP, FLEET, TOP)
