"""How good forecasts of past days were: the numbers of a ship and of the fleet, and how long they count."""

import json

import numpy as np
import pytest

from query_api.forecast.accuracy import (
    OLDEST_S,
    Accuracies,
    Accuracy,
    Expected,
    WatchedDay,
    accuracy_of,
    days_from,
)
from query_api.forecast.steps import DAY_S

END_S = 20_000 * DAY_S
NONE = Accuracy(0, 0, 0, 0)


def made_up(seed: int, days: int = 30) -> list[WatchedDay]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(10, 5, (days, 4)).tolist()
    return [
        WatchedDay(END_S - back * DAY_S, kwh, Expected(expected, min(low, high), max(low, high)))
        for back, (kwh, expected, low, high) in zip(range(days, 0, -1), rows, strict=True)
    ]


def slowly(days: list[WatchedDay]) -> tuple[float, float]:
    """Add up day by day what WAPE and coverage are defined as."""
    off = size = inside = 0.0
    for day in days:
        off += abs(day.kwh - day.expected.kwh)
        size += abs(day.kwh)
        inside += 1 if day.expected.lower <= day.kwh <= day.expected.upper else 0
    return off / size, inside / len(days)


def test_errors_are_compared_with_the_energy_and_days_with_their_interval() -> None:
    days = [WatchedDay(0, 10, Expected(8, 7, 9)), WatchedDay(1, 30, Expected(33, 20, 40))]
    assert accuracy_of(days) == Accuracy(2, 1, 40, 5)
    assert (accuracy_of(days).wape, accuracy_of(days).coverage) == (5 / 40, 0.5)
    assert (NONE.wape, NONE.coverage) == (None, None)
    assert accuracy_of([]) == NONE
    assert accuracy_of([WatchedDay(0, 0, Expected(1, 0, 2))]).wape is None


def test_the_fleet_is_all_days_of_all_ships() -> None:
    found = Accuracies()
    ships = {ship: made_up(ship, 5 * ship) for ship in range(1, 5)}
    for ship, days in ships.items():
        found.put(ship, END_S, days)
        of_ship = found.of_ship(ship, END_S)
        assert of_ship is not None
        assert (of_ship.wape, of_ship.coverage) == pytest.approx(slowly(days))
    count, fleet = found.of_fleet(END_S)
    assert count == 4
    assert (fleet.wape, fleet.coverage) == pytest.approx(slowly([day for days in ships.values() for day in days]))


def test_what_was_found_is_given_back_day_by_day() -> None:
    found, days = Accuracies(), made_up(1)
    found.put(7, END_S, days)
    assert found.days(7) == days
    assert found.expected(7, days[3].start_s) == days[3].expected
    assert found.expected(7, END_S) is found.expected(8, days[3].start_s) is None
    assert found.days(8) == []
    assert (found.is_found(7, END_S), found.is_found(7, END_S + DAY_S), found.is_found(8, END_S)) == (
        True,
        False,
        False,
    )
    found.keep_only({8})
    assert found.days(7) == []
    assert days_from(json.loads(json.dumps(days))) == days


def test_old_days_and_none_are_not_told() -> None:
    found = Accuracies()
    found.put(7, END_S, made_up(1))
    found.put(8, END_S, [])
    assert found.of_ship(8, END_S) is found.of_ship(9, END_S) is None
    assert found.of_fleet(END_S + OLDEST_S - 1)[0] == 1
    assert found.of_ship(7, END_S + OLDEST_S) is None
    assert found.of_fleet(END_S + OLDEST_S) == (0, NONE)
