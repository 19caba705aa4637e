"""Topic names: a ship to its topic and back, and every name that holds no ship."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.limits import MAX_RESPONSE_TOPIC_BYTES
from shared.contract.topics import (
    ALL_READINGS,
    MISTAKEN,
    meant_topic,
    readings_topic,
    receipt_topic_for,
    receipts_topic,
    ship_of,
)
from shared.domain.readings import MAX_SHIP


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


@pytest.mark.parametrize(
    "asked",
    [
        "ships/7/receipts",
        "ships/7/answers",
        "ships/7/answers/1/2",
        "ships/7/readings/1",
        "ships/7//",
        "gateways/1",
        "gateways/6f1c2a3e/receipts",
        "gateways/a b",
        "gateways/\N{LATIN SMALL LETTER E WITH ACUTE}",
        "gateways/ships/8/readings",
        "gateways/".ljust(MAX_RESPONSE_TOPIC_BYTES, "/"),
    ],
)
def test_a_response_topic_of_the_same_ship_or_of_a_gateway_is_honoured(asked: str) -> None:
    assert receipt_topic_for(7, asked) == asked


@pytest.mark.parametrize(
    "asked",
    [
        None,
        "",
        "/",
        "ships",
        "ships/7",
        "ships/7/",
        "ships/07/receipts",
        "ships/8/receipts",
        "ships/70/receipts",
        "ships/+/receipts",
        "ships/7/+",
        "ships/7/#",
        "ships/7/a+b",
        "ships/7/a#b",
        "/ships/7/receipts",
        "Ships/7/receipts",
        "gateway/1",
        "gateways",
        "gateways/",
        "gateways/#",
        "gateways/+/1",
        "/gateways/1",
        "$SYS/broker/version",
        "$CONTROL/dynamic-security/v1",
        "$share/a/ships/7/receipts",
        "ships/7/a\0",
        "ships/7/a\nb",
        "ships/7/a\x7f",
        "ships/7/\ufeff",
        "ships/7/\uffff",
        "ships/7/\ud800",
        "gateways/".ljust(MAX_RESPONSE_TOPIC_BYTES + 1, "/"),
        "#",
    ],
)
def test_any_other_response_topic_is_ignored(asked: str | None) -> None:
    """A ship can not make the worker publish elsewhere, nor have its connection ended."""
    assert receipt_topic_for(7, asked) == "ships/7/receipts"


@given(st.integers(0, MAX_SHIP), st.text() | st.text("/ships7readings", max_size=20).map("ships/7/".__add__))
def test_no_receipt_comes_back_as_readings(ship: int, asked: str) -> None:
    """The worker would take it for a message."""
    assert ship_of(receipt_topic_for(ship, asked)) is None
    assert ship_of(receipt_topic_for(ship, readings_topic(ship))) is None
    assert receipt_topic_for(ship, readings_topic(ship)) == receipts_topic(ship)


@pytest.mark.parametrize("pattern", MISTAKEN)
def test_it_is_said_what_a_mistaken_topic_means(pattern: str) -> None:
    assert meant_topic(pattern.replace("+", "42")) == "ships/42/readings"
    assert meant_topic(pattern.replace("+", "x")) is None
    assert meant_topic(pattern.replace("+", str(MAX_SHIP + 1))) is None


def test_no_message_comes_over_two_subscriptions() -> None:
    """The broker may deliver it for each of them."""
    filters = [ALL_READINGS, *MISTAKEN]
    assert all(each.split("/").count("+") == 1 and "#" not in each for each in filters)
    assert len({each.replace("+", "7") for each in filters}) == len(filters)


@pytest.mark.parametrize("topic", ["", "ships", "fleet/7/readings", "ships/7/receipts", "a/ships/7/readings"])
def test_other_topics_are_not_mistaken(topic: str) -> None:
    assert meant_topic(topic) is None
