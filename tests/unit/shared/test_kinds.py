"""What a batch says of its readings: every kind, unit and form, and what contradicts itself."""

import json
from operator import attrgetter
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from shared.contract.acceptance import Rules
from shared.contract.batch import columns
from shared.contract.decoding import receive
from shared.domain.errors import InvalidInput, TooLargeInput
from shared.domain.readings import Kind, Readings
from tests.support import golden
from tests.support.bad_batches import MOMENT, SHIP, reading, readings, text
from tests.support.bad_batches import UUID as UUID_TEXT
from tests.support.columns import as_columns
from tests.support.decoding import NOW_US, decode
from tests.support.reference import Reading

DAY_S = 86_400
LONG = f'[{{"datetime": {MOMENT}, "value": 1, "duration_s": 900}}]'


def read(payload: bytes, sent_at_us: int = 0, **rules: Any) -> Readings:
    """Read a batch as the gateway does, and its message as the worker does; both must say the same."""
    received = receive(payload, Rules(**rules), NOW_US)
    message = received.message(UUID(UUID_TEXT), sent_at_us, NOW_US)
    worker = columns([decode(message, topic_ship=received.batch.ship)])
    gateway = columns([received.batch._replace(sent_at_us=sent_at_us)])
    assert_equal(worker, gateway)
    return worker


def assert_equal(one: Readings, other: Readings) -> None:
    for mine, theirs in zip(one.columns(), other.columns(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("case", golden.CASES, ids=golden.NAMES)
def test_worked_cases_are_read_as_they_are_meant(case: dict[str, Any]) -> None:
    for i, batch in enumerate(case["batches"]):
        meant: dict[int, Reading] = {each.moment_us: each for each in golden.rows(batch, 2 * i)}
        expected: list[Reading] = [
            each if each.kind != Kind.UNKNOWN else each._replace(max_gap_us=0, duration_us=0) for each in meant.values()
        ]
        assert_equal(read(json.dumps(batch).encode(), 2 * i), as_columns(sorted(expected, key=attrgetter("moment_us"))))


@pytest.mark.parametrize(
    ("moment", "usual"),
    [
        ('"2019-01-05T24:00:00Z"', "2019-01-06T00:00:00Z"),
        ('"2019-01-05T24:00"', "2019-01-06T00:00:00Z"),
        ('"2016-12-31T23:59:60Z"', "2017-01-01T00:00:00Z"),
        ('"20161231T235960Z"', "2017-01-01T00:00:00Z"),
        ('"2016-12-31T23:59:60.5+01:00"', "2016-12-31T23:00:00.5Z"),
        ('"2019-01-05t04:37:00z"', "2019-01-05T04:37:00Z"),
        ('"2019-01-05T04:37:00zZ"', "2019-01-05T04:37:00Z"),
        ("1546663020", "2019-01-05T04:37:00Z"),
        ("1546663020.0", "2019-01-05T04:37:00Z"),
        ("1546663020.000001", "2019-01-05T04:37:00.000001Z"),
        ("1546663020000", "2019-01-05T04:37:00Z"),
        ("1546663020000.25", "2019-01-05T04:37:00.00025Z"),
    ],
)
def test_every_form_of_a_timestamp_is_read(moment: str, usual: str) -> None:
    found, wanted = (read(readings(reading(each)).encode()).moment_us for each in (moment, f'"{usual}"'))
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize(("value", "number"), [('"12.5"', 12.5), ('"0"', 0.0), ('"1E3"', 1000.0), ('"-0"', 0.0)])
def test_a_text_that_is_a_number_is_read_as_one(value: str, number: float) -> None:
    assert read(readings(reading(value=value)).encode()).value.tolist() == [number]


@pytest.mark.parametrize("many", [1, 40])
@pytest.mark.parametrize(
    ("of", "most"), [("W", 1e12), ("kW", 1e9), ("MW", 1e6), ("Wh", 1e15), ("kWh", 1e12), ("MWh", 1e9)]
)
def test_every_unit_has_the_same_limit(of: str, most: float, many: int) -> None:
    """1e9 kW, or as it is set, and 1e12 kWh."""

    def batch(value: float) -> bytes:
        rows = [{"datetime": f"2019-01-05T04:{minute:02}:00Z", "value": value} for minute in range(many)]
        return json.dumps({"spaceship_id": SHIP, "units": of, "data": rows}).encode()

    assert read(batch(most)).value.tolist() == [1e12 if of.endswith("h") else 1e9] * many
    with pytest.raises(InvalidInput) as caught:
        decode(batch(most * 1.001))
    assert next((each.at, each.problem) for each in caught.value.problems) == (
        "data[0].value",
        f"should be less than or equal to {most:.15g}",
    )


@pytest.mark.parametrize(
    ("members", "at"),
    [
        ({"units": '"kWh"', "between": '"linear"'}, "between"),
        ({"stamp": '"end"', "between": '"linear"'}, "between"),
        ({"counter": "true"}, "counter"),
        ({"units": '"kWh"', "counter": "true", "stamp": '"end"'}, "stamp"),
        ({"units": '"kWh"', "counter": "true", "duration_s": "900"}, "duration_s"),
        ({"units": '"kWh"', "counter": "true", "between": '"hold"'}, "between"),
        ({"units": '"kWh"', "rollover": "100000"}, "rollover"),
        ({"units": '"kWh"', "counter": "true", "rollover": "0"}, "rollover"),
        ({"units": '"MWh"', "counter": "true", "rollover": "1e10"}, "rollover"),
        ({"duration_s": "900", "max_gap_s": "900"}, "max_gap_s"),
        ({"duration_s": "0"}, "duration_s"),
        ({"duration_s": str(31 * DAY_S + 1)}, "duration_s"),
        ({"duration_s": '"900"'}, "duration_s"),
        ({"max_gap_s": "899"}, "max_gap_s"),
        ({"max_gap_s": str(31 * DAY_S + 1)}, "max_gap_s"),
        ({"counter": "1"}, "counter"),
        ({"stamp": '"END"'}, "stamp"),
        ({"between": '"line"'}, "between"),
        ({"unit": '"W"'}, "unit"),
        ({"sentAt": MOMENT}, "sentAt"),
        ({"Stamp": '"end"'}, "Stamp"),
        ({"duration": "900"}, "duration"),
        ({"rolover": "900"}, "rolover"),
        ({"data": f'[{{"datetime": {MOMENT}, "value": 1, "units": "W"}}]'}, "data[0].units"),
        ({"data": f'[{{"datetime": {MOMENT}, "value": 1, "duration": 900}}]'}, "data[0].duration"),
        ({"data": f'[{{"datetime": {MOMENT}, "value": 1, "duration_s": 0}}]'}, "data[0].duration_s"),
        ({"data": f'[{{"datetime": {MOMENT}, "value": 1, "duration_s": "900"}}]'}, "data[0].duration_s"),
        (
            {"data": LONG, "max_gap_s": "900"},
            "data[0].duration_s",
        ),
        ({"data": LONG, "units": '"kWh"', "counter": "true"}, "data[0].duration_s"),
    ],
    ids=str,
)
def test_what_contradicts_itself_is_refused_in_its_place(members: dict[str, str], at: str) -> None:
    for topic_ship in (None, SHIP):
        with pytest.raises(InvalidInput) as caught:
            decode(text(**members).encode(), topic_ship=topic_ship)
        assert [each.at for each in caught.value.problems] == [at]


@pytest.mark.parametrize("name", ["note", "count", "date", "source", "tz", "v", "", "x" * 10_000])
def test_other_members_are_ignored(name: str) -> None:
    within = f'[{{"datetime": {MOMENT}, "value": 1, {json.dumps(name)}: 1}}]'
    assert decode(text(**{name: "1"}, data=within).encode()).value.tolist() == [1.0]


def test_a_reading_that_looks_back_is_not_before_february_1970() -> None:
    """It may look back 31 days."""
    january = text(data=f"[{reading(str(30 * DAY_S))}]", stamp='"end"').encode()
    with pytest.raises(InvalidInput) as caught:
        read(january, oldest_us=0)
    assert [each.at for each in caught.value.problems] == ["data[0].datetime"]
    assert len(read(text(data=f"[{reading(str(31 * DAY_S))}]", stamp='"end"').encode(), oldest_us=0)) == 1


def test_what_grows_too_large_when_it_is_written_out_is_refused() -> None:
    """Short timestamps, each with a long duration."""
    row = '{{"datetime":{}.5,"value":0,"duration_s":1.0123456789012345}}'
    rows = ",".join(row.format(1_500_000_000 + i) for i in range(100_000))
    with pytest.raises(TooLargeInput):
        receive(text(data=f"[{rows}]").encode(), Rules(), NOW_US).message(UUID(UUID_TEXT), 0, 0)
