"""Topic names: a ship to its topic and back, and every name that holds no ship."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.readings import MAX_SHIP
from shared.topics import ALL_READINGS, readings_topic, ship_of


@given(st.integers(0, MAX_SHIP))
def test_a_ship_is_read_back_from_its_topic(ship: int) -> None:
    """Every integer from 0 to 2^53-1 names a ship."""
    topic = readings_topic(ship)
    assert ship_of(topic) == ship
    assert len(topic.split("/")) == len(ALL_READINGS.split("/"))


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "ships",
        "ships//readings",
        "ships/x/readings",
        "ships/-1/readings",
        "ships/+1/readings",
        "ships/1.0/readings",
        "ships/1e3/readings",
        "ships/0x1/readings",
        "ships/1_0/readings",
        "ships/ 1/readings",
        "ships/1 /readings",
        f"ships/{MAX_SHIP + 1}/readings",
        f"ships/{10**16}/readings",
        f"ships/{10**40}/readings",
        "ships/\N{ARABIC-INDIC DIGIT ONE}/readings",
        "ships/\N{SUPERSCRIPT TWO}/readings",
        "ships/1/receipts",
        "ships/1/readings/",
        "ships/1/readings/2",
        "/ships/1/readings",
        "Ships/1/readings",
        "ships/1/2/readings",
        "gateways/1/readings",
        "ships/1/readings\n",
        "ships/1\n/readings",
    ],
)
def test_a_topic_without_a_ship_is_none(topic: str) -> None:
    """Only a decimal integer of the range is a ship's name."""
    assert ship_of(topic) is None


@pytest.mark.parametrize("name", ["007", "00", "01"])
def test_a_ship_has_one_topic_only(name: str) -> None:
    """Leading zeros would give one ship several topics, and rights on one of them would not hold for the others."""
    assert ship_of(f"ships/{name}/readings") is None


@given(st.text())
def test_any_name_is_a_ship_of_the_range_or_none(topic: str) -> None:
    """Nothing else comes out of the parser."""
    ship = ship_of(topic)
    assert ship is None or readings_topic(ship) == topic
