"""The wire format of covariates."""

import json
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from shared.contract import covariates
from shared.contract.acceptance import Rules
from shared.contract.content import digest
from shared.contract.covariates import message, receive, rows_of
from shared.contract.limits import MAX_COVARIATE_AHEAD_S, MAX_COVARIATE_ROWS, MAX_COVARIATES
from shared.contract.messages import decode
from shared.domain.covariates import NO_ROWS, Covariates
from shared.domain.errors import MAX_PROBLEMS, InvalidInput, TooLargeInput
from shared.domain.timestamps import US_PER_S, iso
from tests.support.bad_batches import READING
from tests.support.bad_batches import UUID as UUID_TEXT
from tests.support.decoding import NOW_US

SHIP = 7
MOMENT = "2018-08-24T00:00:00Z"
ROWS: list[dict[str, Any]] = [
    {"datetime": "2018-08-24T06:00:00Z", "speed": "12.5", "temperature": None},
    {"datetime": MOMENT, "temperature": -3},
    {"datetime": "2018-08-24T02:00:00+02:00", "speed": 4},
]


def body(rows: Any = ROWS, **members: Any) -> bytes:
    return json.dumps({"covariates": rows, **members}).encode()


def received(payload: bytes) -> Covariates:
    batch = receive(payload, Rules(), NOW_US, SHIP)
    assert batch.covariates is not None
    return Covariates(batch.ship, 0, batch.covariates)


def test_rows_come_in_the_order_of_time_and_of_two_of_a_moment_the_last_counts() -> None:
    rows = rows_of(received(body()))
    assert rows == [{"datetime": MOMENT, "speed": 4}, {"datetime": "2018-08-24T06:00:00Z", "speed": 12.5}]
    table = received(body()).table()
    assert list(table.values) == ["speed"]
    assert table.values["speed"].tolist() == [4.0, 12.5]


def test_a_number_that_is_left_out_is_unknown() -> None:
    speed, temperature = received(body([ROWS[0], ROWS[1]])).table().values.values()
    assert np.isnan([speed[0], temperature[1]]).all()
    assert (speed[1], temperature[0]) == (12.5, -3)


def test_no_rows_remove_the_table() -> None:
    assert received(body([])).content == NO_ROWS
    assert rows_of(Covariates(SHIP, 0, NO_ROWS)) == []


def test_the_gateways_message_is_read_as_it_is_meant() -> None:
    batch = receive(body(batch_id=UUID_TEXT), Rules(), NOW_US, SHIP)
    payload = message(batch, UUID(UUID_TEXT), None, NOW_US)
    assert payload.startswith(f'{{"accepted_at":"{iso(NOW_US)}",'.encode())
    read = decode(payload, Rules(), NOW_US, topic_ship=SHIP)
    assert (read.ship, read.covariates, read.received, read.sent_at_us) == (SHIP, batch.covariates, 0, None)
    assert read.batch_id == UUID(UUID_TEXT)
    dated = decode(message(batch, UUID(UUID_TEXT), NOW_US - 1, NOW_US), Rules(), NOW_US, topic_ship=SHIP)
    assert dated.sent_at_us == NOW_US - 1


def test_a_repeat_is_known_by_its_content_however_it_is_written() -> None:
    reordered = [ROWS[2], ROWS[0], {**ROWS[1], "datetime": "2018-08-24T01:00:00Z"}]
    same, other = reordered[::-1], [*reordered[:2], {"datetime": MOMENT, "temperature": -4}]
    digests = [digest(receive(body(rows), Rules(), NOW_US, SHIP)) for rows in (reordered, same, other)]
    assert digests[0] == digests[1] != digests[2]
    dated = receive(body(reordered, sent_at=MOMENT), Rules(), NOW_US, SHIP)
    assert digest(dated) != digests[0]


def test_rows_may_be_weeks_ahead_and_not_more() -> None:
    last_us = NOW_US + MAX_COVARIATE_AHEAD_S * US_PER_S
    assert received(body([{"datetime": iso(last_us), "x": 1}])).table().moment_us.tolist() == [last_us]
    with pytest.raises(InvalidInput) as caught:
        received(body([ROWS[0], {"datetime": iso(last_us + 1), "x": 1}]))
    ((problem,),) = [caught.value.problems]
    assert problem.at == "covariates[1].datetime"
    assert problem.problem.startswith("is 60 days ahead of now")


@pytest.mark.parametrize(
    ("payload", "at"),
    [
        (b"[]", "body"),
        (b"{}", "covariates"),
        (body(None), "covariates"),
        (body({}), "covariates"),
        (body([5]), "covariates[0]"),
        (body([{"x": 1}]), "covariates[0].datetime"),
        (body([{"datetime": "tomorrow", "x": 1}]), "covariates[0].datetime"),
        (body([{"datetime": "1999-12-31T00:00:00Z", "x": 1}]), "covariates[0].datetime"),
        (body([ROWS[0], {"datetime": MOMENT, "x": "fast"}]), "covariates[1].x"),
        (body([{"datetime": MOMENT, "x": True}]), "covariates[0].x"),
        (body([{"datetime": MOMENT, "x": [1]}]), "covariates[0].x"),
        (body([{"datetime": MOMENT, "x": 1e300}]), "covariates[0].x"),
        (body([{"datetime": MOMENT, "x": -(10**400)}]), "covariates[0].x"),
        (body([{"datetime": MOMENT, "9": 1}]), "covariates[0].9"),
        (body([{"datetime": MOMENT, "x y": 1}]), "covariates[0].x y"),
        (body([{"datetime": MOMENT, "x" * 33: 1}]), f"covariates[0].{'x' * 33}"),
        (body([{"datetime": MOMENT, **{f"x{i}": 1 for i in range(MAX_COVARIATES + 1)}}]), "covariates[0]"),
        (body([{"datetime": MOMENT, f"x{i}": 1} for i in range(MAX_COVARIATES + 1)]), "covariates"),
        (body([{"datetime": i + 1_500_000_000, "x": 1} for i in range(MAX_COVARIATE_ROWS + 1)]), "covariates"),
        (body(spaceship_id=8), "spaceship_id"),
        (body(sent_at="2199-01-01T00:00:00Z"), "sent_at"),
        (body(batch_id="x"), "batch_id"),
        (body(units="kW"), "units"),
        (body(data=[json.loads(READING)]), "data"),
        (body(delete={}), "delete"),
        (body(sentAt=MOMENT), "sentAt"),
    ],
    ids=lambda each: str(each)[:60],
)
def test_what_is_wrong_is_refused_in_its_place(payload: bytes, at: str) -> None:
    """Over HTTP and over MQTT alike, but for a `delete`, which makes a message a deletion."""
    with pytest.raises(InvalidInput) as caught:
        received(payload)
    assert [each.at for each in caught.value.problems] == [at]
    with pytest.raises(InvalidInput) as caught:
        decode(payload, Rules(), NOW_US, topic_ship=SHIP)
    if b"covariates" in payload and at != "delete":
        assert [each.at for each in caught.value.problems] == [at]


def test_both_ways_say_what_names_the_ship() -> None:
    for by, decoded in (
        ("path", lambda: received(body(spaceship_id=8))),
        ("topic", lambda: decode(body(spaceship_id=8), Rules(), NOW_US, topic_ship=SHIP)),
    ):
        with pytest.raises(InvalidInput) as caught:
            decoded()
        assert caught.value.problems[0].problem == f"is 8, but the {by} names 7"


def test_a_table_that_grows_beyond_a_message_is_refused() -> None:
    """`1e12` becomes 1000000000000."""
    numbers = ",".join(f'"x{"y" * 30}{i}":1e12' for i in range(MAX_COVARIATES))
    rows = ",".join(f'{{"datetime":{1_500_000_000 + i},{numbers}}}' for i in range(MAX_COVARIATE_ROWS))
    batch = receive(f'{{"covariates":[{rows}]}}'.encode(), Rules(), NOW_US, SHIP)
    with pytest.raises(TooLargeInput):
        message(batch, UUID(UUID_TEXT), None, NOW_US)


@pytest.mark.parametrize(
    "row", [{"datetime": MOMENT, "x": "fast"}, {"datetime": MOMENT, **dict.fromkeys("abcdefghi", 1)}, 5]
)
def test_a_bad_table_is_read_no_further_than_its_first_faults(row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding all faults of a large one would take seconds."""
    validate, calls = covariates._VALIDATE_ROW, 0

    def counted(row: Any) -> Any:
        nonlocal calls
        calls += 1
        return validate(row)

    monkeypatch.setattr(covariates, "_VALIDATE_ROW", counted)
    with pytest.raises(InvalidInput) as caught:
        received(body([row] * MAX_COVARIATE_ROWS))
    assert len(caught.value.problems) == MAX_PROBLEMS
    assert calls <= MAX_PROBLEMS
