"""Rows that are left out: what is sent in their place, and when a file is refused."""

import pytest

from power_cli.importing.energy import PART, total_kwh
from power_cli.importing.parcels import BATCH_READINGS, parcels
from power_cli.importing.report import sent, understood
from shared.domain.timestamps import US_PER_S, iso, moment_us
from shared.runtime.settings import MAX_GAP_S
from tests.support.decoding import decode
from tests.support.importing import NAME, kwh, quarters, read_text, readings, refused, slots

NOON_US = moment_us("2024-01-05T12:00:00Z")


def _file(values: list[str], unit: str = "kW", *, falling: bool = False) -> str:
    rows = [f"{moment},{value}" for moment, value in zip(quarters("2024-01-05", len(values)), values, strict=True)]
    return "\n".join([f"datetime,{unit}", *(reversed(rows) if falling else rows)])


@pytest.mark.parametrize("unit", ["kW", "kWh"])
@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize("bad", ["x", "lost"])
def test_no_neighbour_speaks_for_a_row_that_is_left_out(unit: str, bad: str, *, falling: bool) -> None:
    text = _file(["1"] * 3 + ["x"] + ["1"] * 36, unit, falling=falling)
    if bad == "lost":
        text = text.replace(quarters("2024-01-05", 4)[3], "damaged")
    content = read_text(text)
    assert content.faults.count == 1
    assert [slot.start for slot in slots(content)] == [
        each for i, each in enumerate(quarters("2024-01-05", 40)) if i != 3
    ]
    assert {slot.kwh for slot in slots(content)} == {0.25 if unit == "kW" else 1}


@pytest.mark.parametrize("stamp", ["start", "end"])
def test_several_rows_that_are_lost_leave_a_gap_on_both_sides(stamp: str) -> None:
    moments = quarters("2024-01-05", 60)
    rows = [f"{'x' if 20 <= i < 25 else moment},4" for i, moment in enumerate(moments)]
    content = read_text("\n".join(["datetime,kWh", *rows]), stamp=stamp)
    assert kwh(content) == 55 * 4
    missing = set(range(20, 25))
    shift = 1 if stamp == "end" else 0
    expected = [moment for i, moment in enumerate(quarters("2024-01-04T23:45", 61)) if 1 - shift <= i < 61 - shift]
    gone = {expected[i] for i in missing}
    assert [slot.start for slot in slots(content)] == [each for each in expected if each not in gone]


def test_one_unknown_reading_is_enough_for_rows_that_are_lost_one_after_another() -> None:
    moments = quarters("2024-01-05", 40)
    rows = [f"{'x' if i in (21, 22) else moment},{'x' if i == 20 else 4}" for i, moment in enumerate(moments)]
    content = read_text("\n".join(["datetime,kWh", *rows]))
    assert [moment for moment, value in readings(content) if value is None] == [moments[20]]


def test_rows_that_are_lost_are_those_of_their_ship() -> None:
    rows = [f"{moment},{ship},4" for moment in quarters("2024-01-05", 30) for ship in (1, 2)]
    rows[20] = "damaged,1,4"
    content = read_text("\n".join(["datetime,ship,kWh", *rows]), ship_column="ship")
    assert [(slot.ship, slot.kwh) for slot in slots(content)] == [(1, 4)] * 29 + [(2, 4)] * 30


@pytest.mark.parametrize(
    ("ship", "why"),
    [("-1", "ship is not a whole number: '-1'"), ('"', "is not CSV: a quote is opened and not closed")],
)
@pytest.mark.parametrize("stamp", ["start", "end"])
def test_of_a_row_whose_ship_is_not_known_nobody_speaks(ship: str, why: str, stamp: str) -> None:
    """The ship that has a gap there lost it, and the other one nothing."""
    rows = [f"{moment},{number},4" for moment in quarters("2024-01-05", 30) for number in (1, 2)]
    rows[20] = rows[20].replace(",1,", f",{ship},")
    content = read_text("\n".join(["datetime,ship,kWh", *rows]), ship_column="ship", stamp=stamp)
    assert content.faults.first() == [(22, why)]
    assert [(slot.ship, slot.kwh) for slot in slots(content)] == [(1, 4)] * 29 + [(2, 4)] * 30


def test_a_good_row_counts_beside_a_bad_one_of_the_same_moment() -> None:
    rows = [f"{moment},4" for moment in quarters("2024-01-05", 30)]
    for bad in (0, 1):
        twice = [rows[0].replace(",4", ",x"), rows[0]][:: 1 if bad else -1]
        assert kwh(read_text("\n".join(["datetime,kWh", *twice, *rows[1:]]))) == 120


def test_a_value_and_a_missing_one_contradict_each_other() -> None:
    rows = [f"{moment},4" for moment in quarters("2024-01-05", 3)]
    assert "(2024-01-05T00:00:00Z: 4 and unknown)" in refused(
        "\n".join(["datetime,kWh", *rows, rows[0].replace(",4", ",")])
    )


def test_more_than_a_tenth_of_bad_rows_is_refused() -> None:
    assert read_text(_file(["1"] * 9 + ["x"])).faults.count == 1
    assert kwh(read_text(_file(["1"] * 9 + ["x"]))) == 2.25
    said = refused(_file(["1"] * 8 + ["x"]))
    assert said.startswith("1 of 9 values cannot be read, which is more than a tenth: --skip-bad leaves them out")
    assert kwh(read_text(_file(["1"] * 8 + ["x"]), skip_bad=True)) == 2


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("2024-01-05T01:00:00Z,2024-01-05T00:45:00Z,1", "its interval ends before it begins"),
        ("2024-01-05T01:00:00Z,2024-01-05T01:00:00Z,1", "its interval ends before it begins"),
        ("2024-01-05T01:00:00Z,2024-02-06T01:00:00Z,1", "its interval lasts longer than 31 days"),
        (
            "2024-01-05T01:00:00Z,never,1",
            "the end of its interval, datetime is not an ISO 8601 moment such as 2019-01-0",
        ),
    ],
)
def test_intervals_that_are_none_are_left_out(row: str, why: str) -> None:
    content = read_text(f"start,end,kWh\n2024-01-05T00:00:00Z,2024-01-05T00:30:00Z,4\n{row}\n", skip_bad=True)
    [(line, said)] = content.faults.first()
    assert (line, said[: len(why)], kwh(content)) == (3, why, 4)


def test_intervals_that_overlap_are_refused() -> None:
    text = "start,end,kWh\n2024-01-05T00:00:00Z,2024-01-05T00:30:00Z,4\n2024-01-05T00:15:00Z,2024-01-05T01:00:00Z,4\n"
    assert refused(text) == "the intervals of lines 2 and 3 overlap"


def test_intervals_of_several_lengths_state_their_own() -> None:
    text = "start,end,kWh\n2024-01-05T00:00:00Z,2024-01-05T00:30:00Z,4\n2024-01-05T00:30:00Z,2024-01-05T01:30:00Z,4\n"
    assert [slot.kwh for slot in slots(read_text(text))] == [2, 2, 1, 1, 1, 1]


def test_batches_hold_ten_thousand_readings_by_time() -> None:
    count = 2 * BATCH_READINGS + 1
    rows = (f"{iso(NOON_US + i * US_PER_S)},{i}" for i in reversed(range(count)))
    sent_ = list(parcels(read_text("\n".join(["datetime,kWh", *rows]), ship=5), NAME))
    assert [each.name for each in sent_] == ["x.csv:10003-20002", "x.csv:3-10002", "x.csv:2-2"]
    assert [value for each in sent_ for value in each.value] == list(range(count))
    assert {(each.ship, each.units) for each in sent_} == {(5, "kWh")}
    assert len({each.batch_id for each in sent_}) == 3


@pytest.mark.parametrize("step_days", [1, 7, 31])
@pytest.mark.parametrize("stamp", ["start", "end"])
def test_no_batch_makes_more_slots_than_the_service_takes(step_days: int, stamp: str) -> None:
    """Whatever its longest gap is: ten years of daily readings are several batches."""
    count = 3653 // step_days
    rows = (f"{iso(NOON_US - i * step_days * 86_400_000_000)},{i}" for i in range(count))
    sent_ = list(parcels(read_text("\n".join(["datetime,kWh", *rows]), stamp=stamp), NAME))
    for parcel in sent_:
        decode(parcel.body(), max_gap_us=MAX_GAP_S * US_PER_S)
    assert [value for each in sent_ for value in each.value] == list(range(count - 1, -1, -1))
    assert 2 <= len(sent_) <= 4


@pytest.mark.parametrize("unit", ["kW", "kWh"])
@pytest.mark.parametrize("stamp", ["start", "end"])
def test_the_total_is_the_rules(unit: str, stamp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = ["" if i % 11 == 0 else str(i % 7) for i in range(200)]
    text = _file(values, unit).replace("2024-01-05T03:15", "2024-01-05T03:22")
    content = read_text(text, stamp=stamp)
    assert total_kwh(content) == pytest.approx(kwh(content))
    monkeypatch.setattr("power_cli.importing.energy.PART", 13)
    assert total_kwh(content) == pytest.approx(kwh(content))
    assert PART > 13


def test_the_report_says_how_the_file_is_understood() -> None:
    text = "Zeit;Ort;Leistung [W]\n01.02.2024 00:00;Wien;1,5\n01.02.2024 00:15;Wien;\n01.02.2024 00:30;Graz;2\n"
    content = read_text(text, tz="Europe/Vienna", where=(("Ort", "Wien"),), ship=7)
    assert list(understood(content)) == [
        "  text      UTF-8, cells separated by semicolons, decimal commas, header in line 1",
        "  time      'Zeit': dates as day.month.year, in Europe/Vienna",
        "  values    'Leistung [W]': power from each timestamp to the next",
        "  unit      W, by the header 'Leistung [W]'",
        "  ship      7",
        "  rows      2, 1 more excluded by --where",
        "  readings  2, unknown: 1 (missing values: 1)",
        "  first     2024-01-31T23:00:00Z",
        "  last      2024-01-31T23:15:00Z",
        "  total     0.000375 kWh",
        "  example   '01.02.2024 00:00;Wien;1,5' in line 2: 1.5 W at 2024-01-31T23:00:00Z",
    ]
    assert sent(content) == "2 readings sent, 0 rows left out, 2024-01-31T23:00:00Z to 2024-01-31T23:15:00Z"
    assert readings(content)[1] == ("2024-01-31T23:15:00Z", None)
