"""The wire format: what is meant is what is read, and nothing but `InvalidInput` comes out of what is wrong."""

import json
from datetime import timedelta, timezone
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract import decoding
from shared.contract.acceptance import Rules
from shared.contract.batch import Batch, columns
from shared.contract.decoding import InvalidBatch
from shared.contract.limits import ENVELOPE_BYTES, MAX_BODY_BYTES, MAX_READINGS, MAX_VALUE
from shared.contract.misspelt import NAMES, misspelt
from shared.domain.errors import MAX_PROBLEMS, InvalidInput, TooLargeInput, UnreadableInput
from shared.domain.readings import MAX_SHIP, Kind
from shared.domain.timestamps import EPOCH, LAST_US, ONE_US
from tests.support.bad_batches import INVALID, MOMENT, READING, SHIP, UNREADABLE, BadBatch, reading, readings, text
from tests.support.bad_batches import UUID as UUID_TEXT
from tests.support.decoding import NOW_US, decode

MOMENT_US = 1_546_663_020_000_000
names = [each.name for each in INVALID]
moments_us = st.integers(0, LAST_US)
zones = st.one_of(st.none(), st.integers(-23 * 60 - 59, 23 * 60 + 59))


@st.composite
def written(draw: st.DrawFn, us: int) -> str:
    """Write a moment in one of the forms that are taken."""
    minutes = draw(zones)
    if minutes is None:
        plain = (EPOCH + us * ONE_US).replace(tzinfo=None).isoformat()
        return plain + draw(st.sampled_from(["", "Z", "ZZ"]))
    return (EPOCH + us * ONE_US).astimezone(timezone(timedelta(minutes=minutes))).isoformat()


@st.composite
def meant(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[int, float]]]:
    """Draw a valid batch, and its readings as they are meant."""
    moment_us = st.one_of(moments_us, st.sampled_from([0, MOMENT_US, LAST_US]))
    value = st.one_of(st.integers(0, 10**9), st.floats(0, 1e9), st.sampled_from([0, 0.0, -0.0, 1e9]))
    rows = draw(st.lists(st.tuples(moment_us, value), min_size=1, max_size=20))
    data = [{"value": value, "datetime": draw(written(us))} for us, value in rows]
    batch: dict[str, Any] = {"data": data, "units": draw(st.sampled_from(["kW", "kWh"]))}
    batch["spaceship_id"] = draw(st.integers(0, MAX_SHIP))
    if draw(st.booleans()):
        batch["batch_id"] = draw(st.one_of(st.none(), st.uuids().map(str)))
    if draw(st.booleans()):
        batch["sent_at"] = draw(st.one_of(st.none(), moments_us.flatmap(written)))
    unknown = st.text().filter(lambda name: name not in NAMES and not list(misspelt({name: 0}, NAMES)))
    members = {**draw(st.dictionaries(unknown, st.integers())), **batch}
    order = draw(st.permutations(list(members)))
    return {name: members[name] for name in order}, rows


def rows_of(batch: Batch) -> list[tuple[int, float]]:
    """Give the readings of a batch as rows."""
    return list(zip(batch.moment_us.tolist(), batch.value.tolist(), strict=True))


@given(meant(), st.booleans())
def test_a_valid_batch_is_read_as_it_was_meant(
    drawn: tuple[dict[str, Any], list[tuple[int, float]]],
    escaped: bool,  # noqa: FBT001  # hypothesis draws it
) -> None:
    """Members in any order, unknown ones ignored; of two readings of one moment the later in the list counts."""
    members, rows = drawn
    batch = decode(json.dumps(members, ensure_ascii=escaped).encode("utf-8"))
    assert rows_of(batch) == sorted(dict(rows).items())
    assert batch.received == len(rows)
    assert (batch.ship, batch.units) == (members["spaceship_id"], members["units"])
    assert batch.batch_id == (UUID(members["batch_id"]) if members.get("batch_id") else None)
    assert (batch.sent_at_us is None) == (members.get("sent_at") is None)
    assert not np.signbit(batch.value).any()


@given(meant())
def test_a_batch_without_its_ship_is_the_topics(drawn: tuple[dict[str, Any], list[tuple[int, float]]]) -> None:
    """On MQTT `spaceship_id` may be left out."""
    members, _ = drawn
    ship = members.pop("spaceship_id")
    assert decode(json.dumps(members).encode(), topic_ship=ship).ship == ship


@given(moments_us, st.data())
def test_sent_at_is_read_like_any_moment(us: int, data: st.DataObject) -> None:
    """ISO 8601 with an offset, without one, to the microsecond."""
    assert decode(text(sent_at=json.dumps(data.draw(written(us)))).encode()).sent_at_us == us


@given(st.binary(), st.booleans(), st.one_of(st.none(), st.just(SHIP)))
def test_any_bytes_are_a_batch_or_invalid(payload: bytes, negative: bool, ship: int | None) -> None:  # noqa: FBT001
    """Nothing but `InvalidInput` comes out, or one message would end the worker."""
    _decodes_or_refuses(payload, allow_negative=negative, topic_ship=ship)


_texts = st.text(st.characters())  # lone surrogates too
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_texts, inner, max_size=4)),
    max_leaves=10,
)
_odd = st.one_of(
    _json,
    st.sampled_from([SHIP, "kW", "kWh", "2019-01-05T04:37:00Z", "2019-01-05T04:37:00.5+23:59", 10**400, -(10**400)]),
)
_odd_readings = st.lists(st.one_of(_odd, st.fixed_dictionaries({}, optional={"datetime": _odd, "value": _odd})))
_members = ["spaceship_id", "units", "batch_id", "sent_at"]
_odd_batches = st.fixed_dictionaries(
    {}, optional={"data": st.one_of(_odd, _odd_readings), **dict.fromkeys(_members, _odd)}
)


@given(st.one_of(_json, _odd_batches), st.one_of(st.none(), st.just(SHIP)), st.booleans())
def test_any_json_is_a_batch_or_invalid(members: Any, ship: int | None, escaped: bool) -> None:  # noqa: FBT001
    """Whatever stands in the place of whatever: every refusal is an `InvalidInput` with places."""
    payload = json.dumps(members, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    _decodes_or_refuses(payload, topic_ship=ship)


@given(st.data())
def test_a_batch_with_any_byte_changed_is_a_batch_or_invalid(data: st.DataObject) -> None:
    """Noise on the line."""
    payload = bytearray(text(batch_id=f'"{UUID_TEXT}"', sent_at=MOMENT).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    _decodes_or_refuses(bytes(payload))


def _decodes_or_refuses(payload: bytes, **how: Any) -> None:
    batch: Batch | InvalidInput
    try:
        batch = decode(payload, **how)
    except InvalidInput as error:
        batch = error
    if isinstance(batch, Batch):
        assert 0 <= batch.ship <= MAX_SHIP
        assert 1 <= len(batch.moment_us) == len(batch.value) <= batch.received
        assert (np.diff(batch.moment_us) > 0).all()
        assert ((batch.moment_us >= 0) & (batch.moment_us <= LAST_US)).all()
        assert (np.abs(batch.value) <= MAX_VALUE).all()
    else:
        assert batch.summary
        assert 1 <= len(batch.problems) <= MAX_PROBLEMS


@pytest.mark.parametrize("bad", INVALID, ids=names)
def test_every_fault_has_its_place(bad: BadBatch) -> None:
    """Every error is reported once, with a message; nothing else is."""
    with pytest.raises(InvalidBatch) as caught:
        decoding.decode(bad.payload, Rules(), NOW_US)
    assert sorted(each.at for each in caught.value.problems) == sorted(bad.at)
    assert all(each.problem for each in caught.value.problems)


@pytest.mark.parametrize("bad", UNREADABLE, ids=[each.name for each in UNREADABLE])
def test_what_is_not_json_is_unreadable(bad: BadBatch) -> None:
    """Which is another answer over HTTP (400) than an invalid batch (422)."""
    with pytest.raises(UnreadableInput) as caught:
        decode(bad.payload)
    assert caught.value.summary


def test_over_http_a_deletion_is_no_batch() -> None:
    """Not even one with readings: they would be stored, and nothing deleted."""
    with pytest.raises(InvalidBatch) as caught:
        decoding.decode(text(delete='{"start": 0, "end": 1}').encode(), Rules(), NOW_US)
    assert [(each.at, each.problem) for each in caught.value.problems] == [
        ("delete", "is for MQTT: over HTTP, send DELETE /data")
    ]


def test_the_ship_of_the_topic_must_be_the_batchs() -> None:
    """`spaceship_id` may be left out; where it is given it must equal the topic's."""
    assert decode(text().encode(), topic_ship=SHIP).ship == SHIP
    assert decode(text(spaceship_id=None).encode(), topic_ship=5).ship == 5
    with pytest.raises(InvalidInput) as caught:
        decode(text().encode(), topic_ship=5)
    assert [each.at for each in caught.value.problems] == ["spaceship_id"]


@pytest.mark.parametrize("ship", ["-1", "null", '"5"', "5.0", "true"])
def test_a_wrong_ship_is_not_taken_for_a_missing_one(ship: str) -> None:
    """Also on MQTT, and also the number that stands for "left out" inside."""
    with pytest.raises(InvalidInput) as caught:
        decode(text(spaceship_id=ship).encode(), topic_ship=5)
    assert [each.at for each in caught.value.problems] == ["spaceship_id"]


def test_another_ship_than_the_topics_is_named_beside_the_other_faults() -> None:
    """Every fault's place is named, this one's too."""
    with pytest.raises(InvalidInput) as caught:
        decode(text(units='"w"').encode(), topic_ship=5)
    assert sorted(each.at for each in caught.value.problems) == ["spaceship_id", "units"]


@pytest.mark.parametrize(
    "value", ["0", "0.0", "-0", "-0.0", "1", "1.5", "1e2", "1E+2", "1e9", "1000000000", "5e-324", "1e-999"]
)
def test_every_power_from_0_to_1e9_kw_is_taken(value: str) -> None:
    """Integer or not."""
    batch = decode(readings(reading(value=value)).encode())
    assert batch.value.tolist() == [float(value)]
    assert not np.signbit(batch.value).any()


@pytest.mark.parametrize("value", ["-1", "-0.5", "-1e9", "-5e-324", "0", "1e9"])
def test_values_below_0_are_taken_where_they_are_allowed(value: str) -> None:
    """For fleets that feed energy back, down to -1e9 kW."""
    assert decode(readings(reading(value=value)).encode(), allow_negative=True).value.tolist() == [float(value)]


@pytest.mark.parametrize("value", ["-1000000000001", "1000000000001", "-1e999", "NaN", '"-1,5"', "true"])
def test_allowing_negative_values_allows_no_others(value: str) -> None:
    """The other rules stay."""
    with pytest.raises(InvalidInput) as caught:
        decode(readings(reading(value=value)).encode(), allow_negative=True)
    assert [each.at for each in caught.value.problems] == ["data[0].value"]


@pytest.mark.parametrize(
    "payload",
    [
        text()[:-1] + f', "spaceship_id": {SHIP}}}',
        text(spaceship_id='"no"')[:-1] + f', "spaceship_id": {SHIP}}}',
        text(units='"no"')[:-1] + ', "units": "kW"}',
        text(data="[]")[:-1] + f', "data": [{READING}]}}',
        text(sent_at='"no"')[:-1] + ', "sent_at": null}',
        readings(f'{{"value": -5, "datetime": "no", "datetime": {MOMENT}, "value": 1}}'),
    ],
)
def test_of_duplicate_keys_the_last_counts(payload: str) -> None:
    """As most JSON readers have it; the earlier ones are not even looked at."""
    batch = decode(payload.encode())
    assert (batch.ship, rows_of(batch)) == (SHIP, [(MOMENT_US, 1.0)])


def test_the_escaped_name_of_a_member_is_its_name() -> None:
    r"""JSON says that "\u0075nits" is "units"; of two the last counts, however written."""
    assert decode((text()[:-1] + ', "\\u0075nits": "kWh"}').encode()).units == "kWh"


@pytest.mark.parametrize(
    "identity",
    [
        "6f1c2a3e-5b7d-4c1e-9a70-0d4b5f6e7a81",
        "6F1C2A3E-5B7D-4C1E-9A70-0D4B5F6E7A81",
        "00000000-0000-0000-0000-000000000000",
    ],
)
def test_a_batch_id_is_any_uuid(identity: str) -> None:
    """Of any version, in either case."""
    assert decode(text(batch_id=f'"{identity}"').encode()).batch_id == UUID(identity)


def test_the_bounds_in_readings_are_inclusive() -> None:
    """1 to 100,000 readings."""
    short = '{"datetime":"2019-01-05T04:37","value":1}'
    batch = decode(text(data=f"[{','.join([short] * MAX_READINGS)}]").encode())
    assert (batch.received, len(batch.moment_us)) == (MAX_READINGS, 1)


def test_the_bound_in_bytes_leaves_the_gateway_room_for_its_members() -> None:
    """8 MiB as sent, and `ENVELOPE_BYTES` for what is added on the way."""
    filler = MAX_BODY_BYTES + ENVELOPE_BYTES - len(text(note='""'))
    largest = text(note=f'"{"x" * filler}"').encode()
    assert decode(largest).received == 1
    with pytest.raises(TooLargeInput):
        decode(largest + b" ")


def test_a_batch_gives_its_columns_with_the_moment_of_sending() -> None:
    """Its own `sent_at` where it has one, else the one it is given."""
    own = columns([decode(text(sent_at=MOMENT, units='"kWh"').encode())])
    given_one = columns([decode(text().encode())._replace(sent_at_us=7)])
    assert (own.sent_at_us.tolist(), own.kind.tolist(), own.ship.tolist()) == ([MOMENT_US], [Kind.ENERGY_KWH], [SHIP])
    assert (given_one.sent_at_us.tolist(), given_one.kind.tolist()) == ([7], [Kind.POWER_KW])


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_of_two_readings_of_one_moment_the_later_in_the_list_counts(seconds: list[int]) -> None:
    """Rule 1, inside one batch, however often it happens."""
    rows = [reading(f'"2019-01-05T04:37:0{second}Z"', str(row)) for row, second in enumerate(seconds)]
    last = {MOMENT_US + second * 1_000_000: float(row) for row, second in enumerate(seconds)}
    assert rows_of(decode(readings(*rows).encode())) == sorted(last.items())


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("count", [2, 100])
@pytest.mark.parametrize("is_last", [False, True])
def test_value_that_is_not_finite_is_refused_wherever_it_is(value: str, count: int, is_last: bool) -> None:  # noqa: FBT001
    """Comparing with it says nothing: the least of 1 and NaN is 1."""
    values = ["1"] * count
    values[-1 if is_last else 0] = value
    data = [f'{{"datetime": "2018-08-24T00:00:{i % 60:02}Z", "value": {each}}}' for i, each in enumerate(values)]
    with pytest.raises(InvalidInput) as caught:
        decode(f'{{"units": "kW", "data": [{", ".join(data)}]}}'.encode(), topic_ship=1)
    place = f"data[{count - 1 if is_last else 0}].value"
    assert [(each.at, each.problem) for each in caught.value.problems] == [(place, "should be a finite number")]
