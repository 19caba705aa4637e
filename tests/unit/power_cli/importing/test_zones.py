"""Local time where clocks are changed."""

from argparse import ArgumentParser
from datetime import UTC, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from power_cli.importing import options
from tests.support.importing import faults, kwh, quarters, read_text, readings, refused, slots

VIENNA_AUTUMN = np.datetime64("2025-10-25T20:00")
VIENNA_SPRING = np.datetime64("2025-03-29T22:00")


def _clock(start: np.datetime64, minutes: int, step: int, offset_h: tuple[int, int], change_min: int) -> list[str]:
    """Return what a clock shows; `change_min` after the start it goes over to another offset."""
    return [
        str(start + np.timedelta64(minute, "m") + np.timedelta64(offset_h[minute >= change_min], "h"))
        for minute in range(0, minutes, step)
    ]


def _text(moments: list[str]) -> str:
    return "datetime,kWh\n" + "".join(f"{moment},{i}\n" for i, moment in enumerate(moments))


AUTUMN = {step: _clock(VIENNA_AUTUMN, 600, step, (2, 1), 300) for step in (5, 15, 60)}
SPRING = {step: _clock(VIENNA_SPRING, 600, step, (1, 2), 180) for step in (5, 15, 60)}


@pytest.mark.parametrize("step", [5, 15, 60])
@pytest.mark.parametrize("is_falling", [False, True])
@pytest.mark.parametrize(("clocks", "start"), [(AUTUMN, VIENNA_AUTUMN), (SPRING, VIENNA_SPRING)])
def test_every_hour_is_where_it_was(
    clocks: dict[int, list[str]], start: np.datetime64, step: int, *, is_falling: bool
) -> None:
    moments = clocks[step][::-1] if is_falling else clocks[step]
    content = read_text(_text(moments), tz="Europe/Vienna")
    expected = [f"{start + np.timedelta64(minute, 'm')}:00Z" for minute in range(0, 600, step)]
    assert [moment for moment, _ in readings(content)] == expected
    values = [value for _, value in readings(content)]
    assert values == sorted(range(len(moments)), reverse=is_falling)


def test_ships_that_are_mixed_have_clocks_of_their_own() -> None:
    rows = [f"{moment},{ship},1\n" for moment in AUTUMN[15] for ship in (1, 2, 3)]
    content = read_text("datetime,ship,kWh\n" + "".join(rows), ship_column="ship", tz="Europe/Vienna")
    assert (len(content.series), content.faults.count) == (3 * 40, 0)
    assert set(np.diff(content.series.moment_us)[np.diff(content.series.ship) == 0].tolist()) == {900_000_000}


@given(st.integers(0, 11), st.integers(1, 11))
@settings(max_examples=40)
def test_irregular_rows_are_told_apart_by_the_clock_that_falls(first: int, second: int) -> None:
    """One row in either hour is enough, if the second is earlier by the clock."""
    moments = [f"2025-10-26T02:{5 * minute:02}" for minute in (max(first, second), min(first, second))]
    content = read_text(_text(["2025-10-26T01:00", *moments, "2025-10-26T04:00"]), tz="Europe/Vienna")
    assert content.faults.count == 0
    assert [moment[11:13] for moment, _ in readings(content)] == ["23", "00", "01", "03"]


def test_an_hour_that_comes_once_is_left_out_and_named() -> None:
    moments = ["2025-10-26T01:45", "2025-10-26T02:00", "2025-10-26T02:15", "2025-10-26T03:00"]
    content = read_text(_text(moments), tz="Europe/Vienna", skip_bad=True)
    why = "in Europe/Vienna comes twice, and the rows do not tell which one is meant"
    assert faults(content) == [(3, f"datetime 2025-10-26T02:00:00 {why}"), (4, f"datetime 2025-10-26T02:15:00 {why}")]
    known = [(moment, value) for moment, value in readings(content) if value is not None]
    assert known == [("2025-10-25T23:45:00Z", 0), ("2025-10-26T02:00:00Z", 3)]
    assert kwh(content) == 3
    assert slots(content)[0].covered_s == 900


def test_an_hour_that_does_not_exist_is_named() -> None:
    moments = ["2025-03-30T01:45", "2025-03-30T02:00", "2025-03-30T03:00"]
    content = read_text(_text(moments), tz="Europe/Vienna", skip_bad=True)
    assert faults(content) == [
        (3, "datetime 2025-03-30T02:00:00 in Europe/Vienna does not exist: the clock is put forward then")
    ]


@pytest.mark.parametrize("edge", ["02:00", "03:00"])
def test_an_end_may_be_written_by_either_clock_in_spring(edge: str) -> None:
    """02:00 ends the last quarter before the change, although the clock never showed it."""
    text = _text(["2025-03-30T01:45", f"2025-03-30T{edge}", "2025-03-30T03:15"])
    found = readings(read_text(text, tz="Europe/Vienna", stamp="end"))
    assert [moment[11:16] for moment, _ in found] == ["00:45", "01:00", "01:15"]


def test_the_ends_of_quarters_in_autumn() -> None:
    moments = [str(np.datetime64(moment) + np.timedelta64(15, "m")) for moment in AUTUMN[15]]
    by_clock = _clock(VIENNA_AUTUMN + np.timedelta64(15, "m"), 600, 15, (2, 1), 285)
    found = slots(read_text(_text(by_clock), tz="Europe/Vienna", stamp="end"))
    assert [slot.kwh for slot in found] == list(range(40))
    # 03:00 by the clock before the change, and again an hour later: it cannot be told which one is which.
    assert "come" in refused(_text(moments).replace(",19\n", ",23\n"), tz="Europe/Vienna", stamp="end")


@pytest.mark.parametrize("step", [15, 60])
@pytest.mark.parametrize(("clocks", "start"), [(AUTUMN, VIENNA_AUTUMN), (SPRING, VIENNA_SPRING)])
@pytest.mark.parametrize("by_start", [False, True])
def test_intervals_end_by_the_clock_before_the_change_or_after_it(
    clocks: dict[int, list[str]], start: np.datetime64, step: int, *, by_start: bool
) -> None:
    """02:45 to 03:00, or 02:45 to 02:00; and 01:45 to 02:00, or 01:45 to 03:00."""
    length = np.timedelta64(step, "m")
    ends = [str(np.datetime64(each) + length) if by_start else after for each, after in pairwise(clocks[step])]
    rows = [f"{a},{b},{i}\n" for i, (a, b) in enumerate(zip(clocks[step], ends, strict=False))]
    content = read_text("von,bis,kWh\n" + "".join(rows), tz="Europe/Vienna")
    assert {duration_us // 60_000_000 for duration_us in content.series.duration_us.tolist()} == {step}
    found = slots(content)
    assert (found[0].start, len(found)) == (f"{start}:00Z", len(rows) * step // 15)
    assert kwh(content) == sum(range(len(rows)))


def test_a_row_for_each_day_where_clocks_are_changed() -> None:
    """The hour that is passed over has empty cells; the cells of the hour that comes twice are not clear."""
    header = ",".join(["day", *(f"{hour:02}:00" for hour in range(24))])
    days = [("2025-03-29", 1), ("2025-03-30", 1), ("2025-10-26", 1)]
    rows = [
        ",".join([day, *(("" if (day, hour) == ("2025-03-30", 2) else "1") for hour in range(24))]) for day, _ in days
    ]
    content = read_text("\n".join([header, *rows]), units="kWh", tz="Europe/Vienna")
    assert faults(content) == [
        (4, "datetime 2025-10-26T02:00:00 in Europe/Vienna comes twice, and the rows do not tell which one is meant")
    ]
    assert kwh(content) == 24 + 23 + 23


def test_days_by_their_date_have_their_own_length() -> None:
    content = read_text("Datum;kWh\n29.03.2025;24\n30.03.2025;23\n26.10.2025;25\n", tz="Europe/Vienna")
    found = slots(content)
    assert len(found) == 4 * (24 + 23 + 25)
    assert {slot.kwh for slot in found} == {0.25}


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=1)), UTC])
def test_a_zone_may_be_an_offset(zone: timezone) -> None:
    [first, _] = readings(read_text(_text(["2025-10-26T02:00", "2025-10-26T03:00"]), zone=zone))
    assert first[0] == ("2025-10-26T01:00:00Z" if zone is not UTC else "2025-10-26T02:00:00Z")


@pytest.mark.parametrize("text", ["Europe/Vienna", "europe/vienna", "EUROPE/VIENNA"])
def test_a_zone_is_named_in_any_case(text: str) -> None:
    parser = ArgumentParser()
    options.add_arguments(parser)
    assert parser.parse_args(["x.csv", "--ship", "1", "--tz", text]).tz == ZoneInfo("Europe/Vienna")


def test_an_offset_in_the_file_is_stronger_than_the_zone() -> None:
    text = "datetime,kWh\n2025-07-01T00:00:00Z,1\n2025-07-01T03:00:00,2\n2025-07-01T04:00:00+02:00,3\n"
    assert [moment[11:16] for moment, _ in readings(read_text(text, tz="Europe/Vienna"))] == ["00:00", "01:00", "02:00"]


def test_rows_that_are_repeated_are_harmless_where_the_moment_is_clear() -> None:
    moments = quarters("2025-07-01", 4)
    rows = "".join(f"{moment},1\n" for moment in (*moments, *moments))
    content = read_text(f"datetime,kWh\n{rows}")
    assert (kwh(content), content.checks.repeats) == (4, 4)
    assert kwh(read_text(f"datetime,kWh\n{rows.replace('Z', '')}", tz="Europe/Vienna")) == 4
    assert "the times have no offset" in refused(f"datetime,kWh\n{rows.replace('Z', '')}")
