"""The wire format of deletions."""

import json
from typing import Any
from uuid import UUID

import pytest

from shared.contract.acceptance import Rules
from shared.contract.deletion import message
from shared.contract.messages import decode
from shared.domain.errors import InvalidInput
from shared.domain.timestamps import iso
from tests.support.bad_batches import MOMENT, READING
from tests.support.bad_batches import UUID as UUID_TEXT
from tests.support.decoding import NOW_US

SPAN = {"start": "2018-08-24T00:00:00Z", "end": "2199-12-31T23:59:59.999999Z"}


def deletion(**members: Any) -> bytes:
    return json.dumps({"delete": SPAN, **members}).encode()


def test_the_gateways_message_is_read_as_it_is_meant() -> None:
    """The end may be ahead of the clock, and the start before all readings that are taken: what is stored may be."""
    payload = message(7, (0, NOW_US * 2), UUID(UUID_TEXT), NOW_US - 1, NOW_US)
    batch = decode(payload, Rules(), NOW_US, topic_ship=7)
    assert (batch.ship, batch.deletes, batch.received) == (7, (0, NOW_US * 2), 0)
    assert (batch.batch_id, batch.sent_at_us) == (UUID(UUID_TEXT), NOW_US - 1)


def test_the_gateways_message_says_first_when_it_was_accepted() -> None:
    """By that the worker knows it, and dates one that is not dated."""
    payload = message(7, (0, 1), UUID(UUID_TEXT), None, NOW_US)
    assert payload.startswith(f'{{"accepted_at":"{iso(NOW_US)}",'.encode())
    assert decode(payload, Rules(), NOW_US, topic_ship=7).sent_at_us is None


def test_a_ship_may_leave_out_all_but_the_span() -> None:
    batch = decode(deletion(), Rules(), NOW_US, topic_ship=7)
    assert (batch.ship, batch.batch_id, batch.sent_at_us) == (7, None, None)
    assert (
        decode(deletion(units=None, data=None, note=1, accepted_at=1), Rules(), NOW_US, topic_ship=7).deletes
        == batch.deletes
    )


@pytest.mark.parametrize(
    ("members", "at"),
    [
        ({"spaceship_id": 8}, "spaceship_id"),
        ({"sent_at": "2199-01-01T00:00:00Z"}, "sent_at"),
        ({"batch_id": "x"}, "batch_id"),
        ({"units": "kW"}, "units"),
        ({"data": [json.loads(READING)]}, "data"),
        ({"delete": {"start": json.loads(MOMENT)}}, "delete.end"),
        ({"delete": {"start": json.loads(MOMENT), "end": json.loads(MOMENT)}}, "delete.end"),
        ({"delete": {**SPAN, "end": "tomorrow"}}, "delete.end"),
        ({"delete": {**SPAN, "ends": 1}}, "delete.ends"),
        ({"sentAt": "2018-08-24T00:00:00Z"}, "sentAt"),
        ({"delete": None}, "delete"),
        ({"delete": []}, "delete"),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_in_its_place(members: dict[str, Any], at: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode(deletion(**members), Rules(), NOW_US, topic_ship=7)
    assert [each.at for each in caught.value.problems] == [at]


def test_a_reading_may_be_called_delete() -> None:
    """Elsewhere than as a member of the message the word means nothing."""
    payload = f'{{"units": "kW", "note": {{"delete": 1}}, "data": [{READING}]}}'.encode()
    assert decode(payload, Rules(), NOW_US, topic_ship=7).deletes is None
