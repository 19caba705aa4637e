"""Numbers and windows at their bounds."""

import json

from query_api.answers.rows import number
from shared.contract.topics import readings_topic, ship_of
from shared.domain.readings import MAX_SHIP
from shared.domain.slots import Window
from tests.unit.query_api.test_answers import ship_rows, slots
from tests.unit.query_api.test_parameters import START_US, window


def test_a_window_of_one_microsecond_is_its_slot() -> None:
    """Only an empty one is empty."""
    asked = window(start="2018-08-24T00:00:00Z", end="2018-08-24T00:00:00.000001Z")
    assert asked == Window(START_US // 1_000_000, START_US // 1_000_000 + 900)


def test_numbers_beyond_64_bits_are_written_whole() -> None:
    """Absurd, but ships may send what adds up to them."""
    assert json.dumps(number(1e20)) == "1" + 20 * "0"
    assert [row["value"] for row in ship_rows(slots(1e20, -1e20), detail=False)] == [
        10**20,
        -(10**20),
    ]


def test_the_first_and_the_last_ship_have_a_topic() -> None:
    assert [ship_of(readings_topic(ship)) for ship in (0, MAX_SHIP, MAX_SHIP + 1)] == [
        0,
        MAX_SHIP,
        None,
    ]
