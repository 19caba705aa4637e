"""Several batches in one body: where each is, and that the limits of one hold for all together."""

import json
from typing import Any

import pytest

from shared.contract.acceptance import Rules
from shared.contract.batches import Placed, is_array, receive_all
from shared.contract.limits import MAX_BATCHES, MAX_CONTAINERS, MAX_READINGS, MAX_SLOTS, SMALL_BYTES
from shared.domain.errors import MAX_PROBLEMS, InvalidInput, UnreadableInput
from shared.domain.timestamps import iso
from tests.support.bad_batches import SHIP, reading, readings, text
from tests.support.decoding import NOW_US, decode

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def lines(*batches: str) -> list[Placed]:
    return receive_all("\n".join(batches).encode(), Rules(), NOW_US)


def array(*batches: str) -> list[Placed]:
    return receive_all(f"[{','.join(batches)}]".encode(), Rules(), NOW_US)


def faults(caught: pytest.ExceptionInfo[InvalidInput]) -> list[tuple[str, str]]:
    return [(each.at, each.problem) for each in caught.value.problems]


def daily(ship: int, days: int) -> str:
    """Write a batch of daily readings: each makes 96 slots."""
    moments = [iso(NOW_US - i * DAY_US) for i in range(1, days + 1)]
    return text(spaceship_id=str(ship), data=json.dumps([{"datetime": each, "value": 1} for each in moments]))


@pytest.mark.parametrize("read", [array, lines])
def test_each_batch_is_read_as_if_it_were_alone(read: Any) -> None:
    written = [text(), text(units='"Wh"', spaceship_id="1"), readings(reading(), reading(value="2"))]
    for placed, alone in zip(read(*written), written, strict=True):
        batch, expected = placed.received.batch, decode(alone.encode())
        assert (batch.ship, batch.kind, batch.received) == (expected.ship, expected.kind, expected.received)
        assert batch.value.tolist() == expected.value.tolist()


def test_a_body_is_an_array_by_its_first_character() -> None:
    assert all(map(is_array, [b"[", b" \r\n\t[{}]", b"\xef\xbb\xbf[]"]))
    assert not any(map(is_array, [b"", b"{}", b'"["', b" {}["]))


def test_lines_end_as_they_may_and_empty_ones_count() -> None:
    """Unix and Windows; with a byte order mark, a last line end, a trailing NUL."""
    body = b"\xef\xbb\xbf" + f"{text()}\r\n\n \t\n{text()}\n\0".encode()
    found = receive_all(body, Rules(), NOW_US)
    assert [each.place for each in found] == ["line 1", "line 4"]


def test_a_fault_names_the_batch_and_the_place_in_it() -> None:
    bad = readings(reading(), reading(value="-1"))
    with pytest.raises(InvalidInput) as caught:
        array(text(), text(units='"J"'), bad, "5")
    assert [at for at, _ in faults(caught)] == ["[1].units", "[2].data[1].value", "[3]"]
    with pytest.raises(InvalidInput) as caught:
        lines(text(), "", bad, "5")
    assert [at for at, _ in faults(caught)] == ["line 3: data[1].value", "line 4"]


def test_no_more_faults_are_looked_for_than_are_told() -> None:
    with pytest.raises(InvalidInput) as caught:
        array(*[text(units='"J"')] * (MAX_PROBLEMS + 5))
    assert len(faults(caught)) == MAX_PROBLEMS


def test_a_line_that_is_no_json_is_named() -> None:
    for body in ([text(), text()[:-1], text()], [text(), text() + "," + text()]):
        with pytest.raises(UnreadableInput, match="Invalid JSON") as caught:
            lines(*body)
        assert [at for at, _ in faults(caught)] == ["line 2"]


@pytest.mark.parametrize("read", [array, lines])
def test_no_batch_at_all_is_refused(read: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        read()
    assert faults(caught) == [("body", "is empty")]


@pytest.mark.parametrize("read", [array, lines])
def test_a_body_has_as_many_batches_as_are_allowed(read: Any) -> None:
    assert len(read(*[text()] * MAX_BATCHES)) == MAX_BATCHES
    with pytest.raises(InvalidInput) as caught:
        read(*[text()] * (MAX_BATCHES + 2))
    ((at, why),) = faults(caught)
    assert (at, why.startswith("has more than 10,000 ")) == ("body", True)


def test_readings_are_counted_over_all_batches() -> None:
    short = '{"datetime":1546663020,"value":1}'
    half = text(data=f"[{','.join([short] * (MAX_READINGS // 2))}]")
    assert len(array(half, half)) == 2
    with pytest.raises(InvalidInput) as caught:
        array(half, half, readings(short))
    assert faults(caught) == [("body", "has more than 100,000 readings: send it in several bodies")]


def test_slots_are_counted_over_all_batches_and_ships() -> None:
    """A year of daily readings makes 35,000: five of them pass, six do not, and neither do 70 long durations."""
    year = [daily(SHIP + i, 365) for i in range(6)]
    assert len(array(*year[:5])) == 5
    with pytest.raises(InvalidInput, match="not valid") as caught:
        array(*year)
    ((at, why),) = faults(caught)
    assert at == "body"
    assert why.startswith("covers 210,2")
    assert f"more than {MAX_SLOTS:,}" in why
    month = text(duration_s=str(31 * 86_400))
    assert len(array(*[month] * 60)) == 60
    with pytest.raises(InvalidInput):
        array(*[month] * 70)


def test_parts_of_all_lines_are_counted_before_they_are_built() -> None:
    odd = text(note=f"[{','.join(['[]'] * 1000)}]")
    assert len(odd) < SMALL_BYTES
    with pytest.raises(InvalidInput, match="too many parts"):
        lines(*[odd] * (MAX_CONTAINERS // 1000))


def test_members_are_counted_over_all_batches() -> None:
    """Unknown ones are compared with ours, which takes time."""
    odd = text(**{f"odd{i}": "1" for i in range(27)})  # and the three that a batch has
    assert len(array(*[odd] * 5000)) == 5000
    with pytest.raises(InvalidInput) as caught:
        array(*[odd] * 5001)
    ((at, why),) = faults(caught)
    assert (at, why.startswith("has more than 150,000 members")) == ("body", True)
