"""A batch of a gateway that its client has named and not dated: when it counts as sent, and how a repeat is known."""

import json
from uuid import UUID

import pytest

from normalizer_worker.load import Item, read_item
from normalizer_worker.mqtt.publish import Message
from shared.contract.acceptance import CLOCKS_APART_US, Rules
from shared.contract.batch import receive

NOW_US = 1_735_689_600_000_000  # 2025-01-01T00:00:00Z
MINUTE_US = 60_000_000
ID = UUID(int=7)


def message(accepted_us: int, value: int = 1) -> Message:
    """Return what a gateway publishes."""
    data = [{"datetime": "2024-01-05T04:30:00Z", "value": value}]
    received = receive(json.dumps({"spaceship_id": 42, "units": "kW", "data": data}).encode(), Rules(), NOW_US)
    return Message("ships/42/readings", received.message(ID, None, accepted_us), retained=False, qos=1, mid=1)


def item(accepted_us: int, value: int = 1, *, several_gateways: bool = True) -> Item:
    """Return how the worker reads it."""
    found = read_item(message(accepted_us, value), Rules(), NOW_US, several_gateways=several_gateways)
    assert found.letter is None
    return found


@pytest.mark.parametrize("ago_us", [0, 1, MINUTE_US, -MINUTE_US])
def test_it_counts_as_sent_when_it_was_accepted(ago_us: int) -> None:
    found = item(NOW_US - ago_us)
    assert found.valid.sent_at_us == NOW_US - ago_us
    assert found.lag_s == ago_us / 1e6


def test_it_is_not_sent_far_ahead_of_the_clock() -> None:
    """A ship may write `accepted_at`, too: what it sends can still be corrected."""
    assert item(NOW_US + 10 * CLOCKS_APART_US).valid.sent_at_us == NOW_US + CLOCKS_APART_US


def test_a_repeat_at_another_gateway_has_the_same_key() -> None:
    first, again, other = item(NOW_US), item(NOW_US + MINUTE_US), item(NOW_US, value=2)
    assert first.first_seen_key is not None
    assert first.first_seen_key == again.first_seen_key
    assert first.first_seen_key != other.first_seen_key


def test_a_single_gateway_knows_its_repeats_itself() -> None:
    assert item(NOW_US, several_gateways=False).first_seen_key is None
