"""Windows with one bound left open."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from query_api.metrics import store_errors
from query_api.routes.top_users import routes
from shared.domain.covariates import Covariates
from shared.domain.deletions import Deletions
from shared.domain.readings import Readings
from shared.domain.slots import Slots, Window
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.port import FleetSlots, ShipEnergy, ShipPage, SlotEnergy

START_S = 1_535_068_800  # 2018-08-24T00:00:00Z
HOUR_S = 3600


@dataclass
class MemoryReader:
    """A store of one ship, known for half an hour, in a fleet whose slots fill two hours."""

    extent_: Window | None = field(default_factory=lambda: Window(START_S, START_S + 2 * HOUR_S))

    def slots(self, ship: int, window: Window) -> Slots:  # noqa: ARG002  # as the port has it
        return Slots.from_rows([])

    def energy(self, ship: int, window: Window) -> SlotEnergy:
        raise NotImplementedError

    def fleet(self, window: Window) -> FleetSlots:
        raise NotImplementedError

    def top_ships(self, window: Window, count: int) -> list[ShipEnergy]:  # noqa: ARG002  # as the port has it
        return [ShipEnergy(1, 5.0, 1800.0)] if self.extent_ else []

    def first_slot_s(self, ship: int | None, window: Window) -> int | None:
        raise NotImplementedError

    def last_slot_s(self, ship: int | None, window: Window) -> int | None:
        raise NotImplementedError

    def reach(self, ship: int | None) -> Window:
        raise NotImplementedError

    def version(self, ship: int | None, window: Window) -> str | None:
        raise NotImplementedError

    def ships(self, after: int, count: int, windows: Sequence[Window], until_us: int) -> ShipPage:
        raise NotImplementedError

    def known_ships(self, after: int, count: int) -> list[int]:
        raise NotImplementedError

    def readings(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        raise NotImplementedError

    def deletions(self, ships: Sequence[int]) -> Deletions:
        raise NotImplementedError

    def covariates(self, ship: int) -> Covariates | None:
        raise NotImplementedError

    def ping(self) -> None:
        pass

    def extent(self) -> Window | None:
        return self.extent_


def top(reader: MemoryReader, query: str) -> Any:
    return (
        make_app(routes(reader, store_errors(CollectorRegistry())), access=anybody)
        .test_client()
        .get(f"/topusers?{query}")
        .json
    )


@pytest.mark.parametrize(
    ("query", "start", "share"),
    [
        ("", "2018-08-24T00:00:00Z", 0.25),
        ("start=2018-08-24T01:00Z", "2018-08-24T01:00:00Z", 0.5),
        ("end=2018-08-24T01:00Z", "2018-08-24T00:00:00Z", 0.5),
        ("start=2018-08-23T20:00Z&end=2018-08-24T06:00Z", "2018-08-23T20:00:00Z", 0.05),
    ],
    ids=["open", "open end", "open start", "closed"],
)
def test_an_open_bound_is_the_edge_of_what_there_is(query: str, start: str, share: float) -> None:
    """For the start that is named, and for the share of the window that is covered."""
    assert top(MemoryReader(), query + "&detail=true") == {
        "datetime": start,
        "ships": [{"spaceship_id": 1, "consumption": 5, "covered_share": share}],
    }


@pytest.mark.parametrize(
    ("query", "start"),
    [
        ("", None),
        ("end=2018-08-24T01:00Z", None),
        ("start=2018-08-24T01:00Z", "2018-08-24T01:00:00Z"),
    ],
    ids=["open", "open start", "open end"],
)
def test_of_an_empty_store_only_the_start_that_was_asked_for_is_named(query: str, start: str | None) -> None:
    assert top(MemoryReader(None), query) == {"datetime": start, "ships": []}
