"""What is told of ships, and their raw readings: over a store in memory, at a moment of our choice."""

from itertools import accumulate
from math import nan
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from query_api.metrics import store_errors
from query_api.routes import ships
from shared.contract.acceptance import MAX_AHEAD_US
from shared.domain.readings import Kind
from shared.domain.slots import Slots
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.memory import MemoryStore
from tests.support.columns import as_columns
from tests.support.store_contract import put, slots_of
from tests.support.strategies import START_US

MINUTE_US = 60_000_000
NOW_US = START_US + 20 * MINUTE_US


class Ask:
    """GETs what is told at a moment."""

    def __init__(self, store: MemoryStore, max_ahead_us: int = MAX_AHEAD_US) -> None:
        self.store = store
        self.now_us = NOW_US
        app = make_app(
            ships.routes(
                store, store_errors(CollectorRegistry()), now_us=lambda: self.now_us, max_ahead_us=max_ahead_us
            ),
            access=anybody,
        )
        self.client: FlaskClient = app.test_client()

    def __call__(self, path: str) -> Any:
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.json

    def put(self, rows: Slots | list[tuple[Any, ...]]) -> None:
        put(self.store, rows if isinstance(rows, Slots) else as_columns(rows))


@pytest.fixture
def ask() -> Ask:
    store = MemoryStore()
    return Ask(store)


def test_a_ship_is_told_of(ask: Ask) -> None:
    ask.put([(7, START_US + at * MINUTE_US + 500_000, 6.0, False, 0) for at in (0, 5, 10, 30)])
    ask.put(slots_of((7, 0, 1.5, 900.0, False), (7, 1, 0.25, 600.0, False), (7, 2, 1.0, 900.0, True)))
    told = ask("/ships/7")
    assert told.pop("forecast_accuracy") is None
    assert ask("/ships") == {"ships": [told], "next": None}
    assert told == {
        "spaceship_id": 7,
        "first_reading": "2018-08-24T00:00:00.500000Z",
        "last_reading": "2018-08-24T00:30:00.500000Z",
        "ahead": None,
        "cadence": 300,
        "energy_24h": 1.75,  # the slots of now and before it: 00:30 is yet to come
        "energy_30d": 1.75,
        "whole_share": 0.666667,
        "silent_for": 0,
    }


def test_a_future_timestamp_is_shown_as_ahead_and_changes_nothing_else(ask: Ask) -> None:
    """Not even of the ship that has sent nothing else: of that one nothing is known up to now."""
    ask.put([(1, NOW_US - at * MINUTE_US, 6.0, False, 0) for at in (1, 2, 4)])
    ask.put(slots_of((1, 0, 1.0, 900.0, False), (1, 1, 1.0, 300.0, False)))
    before = ask("/ships/1")
    assert (before["ahead"], before["whole_share"], before["silent_for"]) == (None, 0.5, 60)
    far_us = NOW_US + 18 * 365 * 24 * 60 * MINUTE_US
    at = (far_us // 60_000_000 - START_US // 60_000_000) // 15
    ask.put([(ship, far_us, 6.0, False, 0) for ship in (1, 2)])
    ask.put(slots_of((1, at, 1.0, 900.0, True), (2, at, 1.0, 900.0, True)))
    ahead = "2036-08-19T00:20:00Z"
    assert ask("/ships/1") == {**before, "ahead": ahead}
    assert ask("/ships/2") == {
        "spaceship_id": 2,
        "first_reading": ahead,
        "last_reading": None,
        "ahead": ahead,
        "cadence": None,
        "energy_24h": None,
        "energy_30d": None,
        "whole_share": None,
        "silent_for": None,
        "forecast_accuracy": None,
    }


def test_what_clocks_may_be_ahead_by_is_for_the_setting_to_say(ask: Ask) -> None:
    ask.put([(1, NOW_US + minutes * MINUTE_US, 6.0, False, 0) for minutes in (0, 10, 40)])
    ask.put(slots_of((1, 1, 1.0, 900.0, False)))
    assert ask("/ships/1")["last_reading"] == "2018-08-24T00:30:00Z"
    assert Ask(ask.store, 5 * MINUTE_US)("/ships/1")["last_reading"] == "2018-08-24T00:20:00Z"
    assert Ask(ask.store, 60 * MINUTE_US)("/ships/1")["last_reading"] == "2018-08-24T01:00:00Z"


def test_energy_is_that_of_whole_slots_up_to_the_present_one(ask: Ask) -> None:
    """96 of them, and 30 times as many; what nobody spoke for is not known, and never 0."""
    ask.put([(1, START_US, 6.0, False, 0)])
    ask.put(slots_of((1, 0, 0.0, 900.0, False), (1, 1, 2.0, 900.0, False)))
    day = 24 * 60
    found = []
    for minutes in (0, 0.001, 15, 15.001, day + 14.999, day + 15.001, day + 30.001, 30 * day + 15.001, 30 * day + 31):
        ask.now_us = START_US + round(minutes * MINUTE_US)
        row = ask("/ships/1")
        found.append((row["energy_24h"], row["energy_30d"]))
    late = [(2, 2), (None, 2), (None, 2), (None, None), (None, None)]
    assert found == [(None, None), (0, 0), (0, 0), (2, 2), *late]


def test_silence_is_counted_from_the_last_reading(ask: Ask) -> None:
    ask.put([(1, NOW_US - 1_500_000, 6.0, False, 0), (2, NOW_US + 1, 6.0, False, 0)])
    ask.put(slots_of((1, 1, 1.0, 900.0, True), (2, 1, 1.0, 900.0, True)))
    assert [each["silent_for"] for each in ask("/ships")["ships"]] == [1.5, 0]


def test_the_cadence_is_the_median_and_unknown_of_a_single_reading(ask: Ask) -> None:
    ask.put([(1, START_US, 6.0, False, 0)])
    ask.put([(2, START_US + at * 1_000_000, 6.0, False, 0) for at in (0, 10, 20, 9000)])
    ask.put([(3, START_US + at * 250_000, 6.0, False, 0) for at in (0, 1, 3)])
    ask.put(slots_of(*[(ship, 0, 1.0, 900.0, False) for ship in (1, 2, 3)]))
    assert [each["cadence"] for each in ask("/ships")["ships"]] == [None, 10, 0.375]


P, E = Kind.POWER_KW, Kind.ENERGY_KWH
SECONDS = 1_000_000


@pytest.mark.parametrize(
    ("kinds", "steps_s", "is_warned"),
    [
        ([E, P] * 3, [2, 898] * 3, True),
        ([P, Kind.END_KWH] * 3, [2, 298] * 3, True),
        ([Kind.COUNTER_KWH, Kind.MEAN_KW] * 20, [5] * 40, True),
        ([Kind.UNKNOWN, E, Kind.UNKNOWN, P] * 3, [1] * 12, True),
        ([E, P] * 3, [900] * 6, False),
        ([P, P, P, P, E] * 4, [60, 60, 60, 718, 2] * 4, False),
        ([P] * 10 + [E] * 10, [1] * 20, False),
        ([E, P], [1, 1], False),
        ([P, Kind.LINE_KW, Kind.MEAN_KW] * 3, [1] * 9, False),
        ([E, P] * 3 + [P] * 21, [2, 898] * 3 + [900] * 21, False),
    ],
    ids=["pairs", "end", "turns", "unknown", "far", "rare", "once", "few", "power", "past"],
)
def test_a_ship_that_sends_power_and_energy_in_turns_is_asked_whether_that_is_one_meter(
    ask: Ask, kinds: list[Kind], steps_s: list[int], *, is_warned: bool
) -> None:
    """If it is, it is counted twice."""
    ask.now_us = START_US + 10 * 24 * 60 * MINUTE_US
    moments_us = [START_US + SECONDS * each for each in accumulate(steps_s)]
    rows = zip(moments_us, kinds, strict=True)
    ask.put([(7, at_us, nan if kind == Kind.UNKNOWN else 1.0, kind, 0) for at_us, kind in rows])
    ask.put(slots_of((7, 0, 1.0, 900.0, False)))
    (listed,) = ask("/ships")["ships"]
    warned = {"warnings": ["power and energy readings alternate: is this one meter?"]} if is_warned else {}
    assert ask("/ships/7") == {**listed, "forecast_accuracy": None, **warned}


def test_ships_come_in_pages(ask: Ask) -> None:
    ask.put([(ship, START_US, 6.0, False, 0) for ship in (0, 3, 5)])
    ask.put(slots_of(*[(ship, 0, 1.0, 900.0, False) for ship in (0, 3, 5)]))
    first = ask("/ships?limit=2")
    second = ask(f"/ships?limit=2&after={first['next']}")
    assert [[each["spaceship_id"] for each in page["ships"]] for page in (first, second)] == [[0, 3], [5]]
    assert second["next"] is None


def test_readings_say_what_they_stated(ask: Ask) -> None:
    """Where it is not what the unit says."""
    kinds = [Kind.LINE_KW, Kind.COUNTER_KWH, Kind.END_KWH, Kind.UNKNOWN]
    stated = [(0, 900_000_000, 0.0), (0, 0, 1e5), (1_500_000, 0, 0.0), (0, 0, 0.0)]
    ask.put(
        [
            (1, START_US + MINUTE_US * i, nan if kind == Kind.UNKNOWN else 1.0, kind, 0, *each)
            for i, (kind, each) in enumerate(zip(kinds, stated, strict=True))
        ]
    )
    rows = ask("/ships/1/readings")["data"]
    assert [{name: each for name, each in row.items() if name not in ("datetime", "sent_at")} for row in rows] == [
        {"value": 1, "units": "kW", "kind": "line", "max_gap_s": 900},
        {"value": 1, "units": "kWh", "kind": "counter", "rollover": 100_000},
        {"value": 1, "units": "kWh", "kind": "energy_end", "duration_s": 1.5},
        {"value": None, "units": "kW", "kind": "unknown"},
    ]


def test_raw_readings_come_in_pages_as_they_were_sent(ask: Ask) -> None:
    """Whole numbers without a fraction, others in full; moments with theirs."""
    ask.put(
        [
            (1, START_US, 1302.0, False, START_US + 1),
            (1, START_US + 1, 1e-9, True, 0),
            (1, START_US + MINUTE_US, 0.1234567891, False, 0),
            (2, START_US, 1.0, False, 0),
        ]
    )
    rows = [
        {"datetime": "2018-08-24T00:00:00Z", "value": 1302, "units": "kW", "sent_at": "2018-08-24T00:00:00.000001Z"},
        {"datetime": "2018-08-24T00:00:00.000001Z", "value": 1e-9, "units": "kWh", "sent_at": "1970-01-01T00:00:00Z"},
        {"datetime": "2018-08-24T00:01:00Z", "value": 0.1234567891, "units": "kW", "sent_at": "1970-01-01T00:00:00Z"},
    ]
    assert ask("/ships/1/readings") == {"spaceship_id": 1, "data": rows, "next": None}
    first = ask("/ships/1/readings?limit=1&start=2018-08-24T00:00:00Z&end=2018-08-24T00:01:00Z")
    assert first == {"spaceship_id": 1, "data": rows[:1], "next": "2018-08-24T00:00:00.000001Z"}
    second = ask(f"/ships/1/readings?limit=1&start={first['next']}&end=2018-08-24T00:01:00Z")
    assert second == {"spaceship_id": 1, "data": rows[1:2], "next": None}


def test_a_window_without_a_reading_is_empty_and_a_ship_that_nobody_heard_of_is_not_found(ask: Ask) -> None:
    ask.put([(1, START_US, 6.0, False, 0)])
    ask.put(slots_of((1, 0, 1.0, 900.0, False)))
    assert ask("/ships/1/readings?start=2019-01-01T00:00Z") == {"spaceship_id": 1, "data": [], "next": None}
    for path in ("/ships/0", "/ships/2", "/ships/2/readings"):
        response = ask.client.get(path)
        assert (response.status_code, response.content_type) == (404, "application/problem+json")
        assert response.json is not None
        assert " is unknown: no reading of it is stored." in response.json["detail"]


def test_a_ship_whose_readings_make_no_energy_is_not_unknown(ask: Ask) -> None:
    """Such as the first one of a counter."""
    ask.put([(7, START_US, 1000.0, Kind.COUNTER_KWH, 0)])
    assert ask("/ships")["ships"] == []
    response = ask.client.get("/ships/7")
    assert response.status_code == 404
    assert response.json is not None
    assert response.json["detail"].startswith("Ship 7 has no energy yet: its readings speak for no time.")
    assert [row["value"] for row in ask("/ships/7/readings")["data"]] == [1000]
    assert ask("/ships/7/readings?start=2019-01-01")["data"] == []


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/ships?limit=0", ["limit"]),
        ("/ships?limit=10001", ["limit"]),
        ("/ships?after=-1", ["after"]),
        ("/ships?after=x&limit=y&sort=z", ["after", "limit", "sort"]),
        ("/ships/x", ["spaceship_id"]),
        ("/ships/9007199254740992", ["spaceship_id"]),
        ("/ships/1?detail=true", ["detail"]),
        ("/ships/1?spaceship_id=2", ["spaceship_id"]),
        ("/ships/-1/readings?limit=100001", ["limit", "spaceship_id"]),
        ("/ships/1/readings?start=2018-08-24T01:00Z&end=2018-08-24T00:00Z", ["end"]),
        ("/ships/1/readings?start=x", ["start"]),
    ],
)
def test_wrong_parameters_are_named(ask: Ask, path: str, named: list[str]) -> None:
    response = ask.client.get(path)
    assert response.status_code == 422
    assert sorted(each["at"] for each in response.json["errors"]) == named  # type: ignore[index]  # it is JSON
