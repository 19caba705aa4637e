"""Files as meters, grid operators and home automation export them: what a careful person would want from each."""

import pytest

from power_cli.importing.report import understood, warnings
from shared.domain.errors import InvalidInput
from tests.support.importing import faults, kwh, quarters, read_text, readings, refused, slots

HOURS = ["0,25", "0,26", "0,27", "0,28"]
AUTUMN = "Zeit;Verbrauch (kWh)\r\n" + "".join(
    f"26.10.2025 {hour:02}:{minute:02};{value}\r\n"
    for hour in (0, 1, 2, 2, 3)
    for minute, value in zip((0, 15, 30, 45), HOURS, strict=True)
)
SPRING = "Zeit;Verbrauch (kWh)\r\n" + "".join(
    f"30.03.2025 {hour:02}:{minute:02};0,5\r\n" for hour in (0, 1, 3) for minute in (0, 15, 30, 45)
)
PREAMBLE = (
    "Lastgang\r\nAnlage;Pumpenhaus 3\r\nEinheit;kW\r\n\r\nErstellt am;24.08.2018\r\nDatum;Uhrzeit;Leistung [kW]\r\n"
    + "".join(
        f"24.08.2018;{hour:02}:{minute:02};{hour},{minute:02}\r\n" for hour in (0, 1) for minute in (0, 15, 30, 45)
    )
)
FROM_TO = """From,To,Energy (kWh)
2018-08-24T00:00:00Z,2018-08-24T01:00:00Z,12
2018-08-24T01:00:00Z,2018-08-24T02:00:00Z,26
2018-08-24T04:00:00Z,2018-08-24T05:00:00Z,18
"""
END_STAMPED = """Interval ending,kWh
2018-08-24T01:00:00Z,12
2018-08-24T02:00:00Z,26
2018-08-24T03:00:00Z,18
"""
COUNTER = """timestamp,meter reading (kWh)
2018-08-24T00:00:00Z,1000
2018-08-24T00:30:00Z,1006
2018-08-24T01:00:00Z,2
2018-08-24T01:30:00Z,5
"""
DAY_ENDS = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(15, 1441, 15)]
DAY_ROWS = f"day,unit,{','.join(DAY_ENDS)}\n2018-08-24,kWh,{','.join(f'{0.25 * (i % 4 + 1)}' for i in range(96))}\n"
TWO_SHIPS = """ship,datetime,kW
1,2018-08-24T00:00:00Z,1
2,2018-08-24T00:00:00Z,2
1,2018-08-24T00:30:00Z,0
2,2018-08-24T00:30:00Z,0
"""
TWO_REGISTERS = "datetime,register,kWh\n" + "".join(
    f"2018-08-24T{hour:02}:00:00Z,Offtake,5\n2018-08-24T{hour:02}:00:00Z,Injection,0\n" for hour in range(6)
)
EXTRA_CELLS = "datetime,kW\n2018-08-24T00:00:00Z,12,5\n2018-08-24T00:15:00Z,0,75\n2018-08-24T00:30:00Z,3\n"
HALF_READABLE = "datetime;kWh\n" + "".join(
    f"{moment};{value}\n"
    for moment, value in zip(quarters("2018-08-24", 5), ["0,5", "0", "7,5", "8,25", "1"], strict=True)
)
UNAVAILABLE = """entity_id,state,last_changed
pump,12.5,2018-08-24T00:00:00Z
pump,unavailable,2018-08-24T00:05:00Z
pump,13.5,2018-08-24T00:15:00Z
pump,13.5,2018-08-24T00:30:00Z
"""
OPEN_QUOTE = "datetime,kW\n" + "".join(
    f"2018-08-24T{i // 60:02}:{i % 60:02}:00Z,{chr(34) if i == 50 else ''}{i % 7}\n" for i in range(100)
)


def test_the_hour_that_comes_twice_in_autumn_is_two_hours() -> None:
    found = slots(read_text(AUTUMN, tz="Europe/Vienna"))
    assert [slot.start for slot in found] == quarters("2025-10-25T22:00", 20)
    assert [slot.kwh for slot in found] == [0.25, 0.26, 0.27, 0.28] * 5
    assert {slot.covered_s for slot in found} == {900}


def test_without_a_zone_the_hour_that_comes_twice_is_refused() -> None:
    """Although it has the same values both times."""
    said = refused(AUTUMN)
    assert said.startswith(
        "4 moments come twice: lines 10 and 14 (2025-10-26T02:00:00Z: 0.25 and 0.25), lines 11 and 15"
    )
    assert said.endswith("the times have no offset: if the clock was put back, name its zone with --tz")


def test_the_hour_that_is_left_out_in_spring_is_no_gap() -> None:
    found = slots(read_text(SPRING, tz="Europe/Vienna"))
    assert [slot.start for slot in found] == quarters("2025-03-29T23:00", 12)
    assert {slot.kwh for slot in found} == {0.5}


def test_the_header_is_found_below_other_lines_and_a_timestamp_in_two_columns() -> None:
    content = read_text(PREAMBLE, tz="UTC")
    assert content.understanding.layout.line == 6
    assert readings(content) == list(
        zip(quarters("2018-08-24", 8), [0, 0.15, 0.3, 0.45, 1, 1.15, 1.3, 1.45], strict=True)
    )
    assert kwh(content) == pytest.approx(5.8 / 4)


def test_what_is_between_two_intervals_is_missing() -> None:
    found = slots(read_text(FROM_TO))
    assert [slot.start for slot in found] == quarters("2018-08-24", 8) + quarters("2018-08-24T04:00", 4)
    assert [slot.kwh for slot in found] == [3] * 4 + [6.5] * 4 + [4.5] * 4


def test_energy_stamped_at_its_end_is_before_its_timestamp() -> None:
    found = slots(read_text(END_STAMPED, stamp="end"))
    assert [slot.start for slot in found] == quarters("2018-08-24", 12)
    assert [slot.kwh for slot in found] == [3] * 4 + [6.5] * 4 + [4.5] * 4


def test_a_column_named_as_an_end_is_not_taken_for_a_start() -> None:
    with pytest.raises(InvalidInput, match="does the column 'Interval ending' name the ends of the intervals"):
        read_text(END_STAMPED)
    assert slots(read_text(END_STAMPED, stamp="start"))[0].start == "2018-08-24T01:00:00Z"


def test_of_a_meter_the_differences_count_and_a_reset_is_unknown() -> None:
    content = read_text(COUNTER, counter=True)
    assert [(slot.start[11:16], slot.kwh) for slot in slots(content)] == [
        *(("00:00", 3), ("00:15", 3), ("01:00", 1.5), ("01:15", 1.5)),
    ]
    assert list(warnings(content)) == []


def test_values_that_only_rise_are_warned_of() -> None:
    assert list(warnings(read_text(COUNTER))) == [
        "warning: the values only rise, as a meter's do: if they are what a meter shows, use --counter"
    ]


@pytest.mark.parametrize("text", [FROM_TO, DAY_ROWS, TWO_REGISTERS.replace("Injection,0", "Offtake,5"), HALF_READABLE])
def test_consumption_is_not_taken_for_what_a_meter_shows(text: str) -> None:
    assert list(warnings(read_text(text))) == []


def test_milliseconds_and_watts_are_told_by_the_file() -> None:
    text = "time,power_w\n1535068800000,1500\n1535069700000,1600\n1535070600000,0\n"
    found = slots(read_text(text))
    assert [(slot.start[11:16], slot.kwh) for slot in found] == [("00:00", 0.375), ("00:15", 0.4), ("00:30", 0)]


def test_a_row_for_each_day_has_a_column_for_each_interval() -> None:
    content = read_text(DAY_ROWS, tz="UTC")
    found = slots(content)
    assert [slot.start for slot in found] == quarters("2018-08-24", 96)
    assert [slot.kwh for slot in found] == [0.25, 0.5, 0.75, 1] * 24
    assert "'00:15' to '24:00', which name the ends of 15 minutes" in "\n".join(understood(content))


def test_the_ship_can_be_in_a_column() -> None:
    found = slots(read_text(TWO_SHIPS, ship_column="ship"))
    assert [(slot.ship, slot.start[11:16], slot.kwh) for slot in found] == [
        *((1, "00:00", 0.25), (1, "00:15", 0.25), (1, "00:30", 0), (1, "00:45", 0)),
        *((2, "00:00", 0.5), (2, "00:15", 0.5), (2, "00:30", 0), (2, "00:45", 0)),
    ]


def test_two_ships_are_not_one() -> None:
    said = refused(TWO_SHIPS)
    assert said.startswith("1 moment comes twice with other values: lines 2 and 3 (2018-08-24T00:00:00Z: 1 and 2)")
    assert "--ship-column: 'ship' (1, 2)" in said


def test_a_filter_chooses_one_of_several_series() -> None:
    content = read_text(TWO_REGISTERS, where=(("register", "Offtake"),))
    assert (kwh(content), content.rows, content.excluded) == (30, 6, 6)
    assert "choose with --where or --ship-column: 'register' (Injection, Offtake)" in refused(TWO_REGISTERS)


def test_a_filter_that_matches_nothing_says_what_there_is() -> None:
    with pytest.raises(InvalidInput, match="no rows with register=Ofttake: register has Injection, Offtake"):
        read_text(TWO_REGISTERS, where=(("register", "Ofttake"),))


def test_cells_beyond_the_header_are_refused() -> None:
    assert refused(EXTRA_CELLS) == "lines 2 and 3 have 3 cells, the header 2; is the decimal mark a comma?"
    assert readings(read_text(EXTRA_CELLS, skip_bad=True)) == [("2018-08-24T00:30:00Z", 3)]


def test_decimal_commas_are_found() -> None:
    assert (len(HALF_READABLE.splitlines()), kwh(read_text(HALF_READABLE))) == (6, 17.25)


@pytest.mark.parametrize("column", [None, "state"])
def test_a_value_that_is_unavailable_is_unknown(column: str | None) -> None:
    content = read_text(UNAVAILABLE, units="kW", value_column=column)
    assert [(slot.start[11:16], slot.kwh, slot.covered_s) for slot in slots(content)] == [
        *(("00:00", 1.041666667, 300), ("00:15", 3.375, 900), ("00:30", 3.375, 900)),
    ]
    assert (content.checks.missing, content.faults.count) == (1, 0)


def test_of_a_quote_that_is_not_closed_only_its_line_is_lost() -> None:
    content = read_text(OPEN_QUOTE)
    assert faults(content) == [(52, "is not CSV: a quote is opened and not closed")]
    expected = [(f"2018-08-24T{i // 60:02}:{i % 60:02}:00Z", None if i == 50 else i % 7) for i in range(100)]
    assert readings(content) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_are_found(encoding: str) -> None:
    content = read_text("datetime,kW\r\n2018-08-24T00:00:00Z,1\r\n2018-08-24T00:15:00Z,2\r\n".encode(encoding))
    assert [value for _, value in readings(content)] == [1, 2]
    assert content.encoding.casefold() == encoding[: len("utf-16" if "16" in encoding else "utf-8")]


def test_a_line_may_name_the_separator() -> None:
    content = read_text("\ufeffsep=;\r\ndatetime;kWh\r\n2018-08-24T00:00:00Z;1\r\n2018-08-24T00:15:00Z;2\r\n")
    assert (kwh(content), content.understanding.layout.line) == (3, 2)


@pytest.mark.parametrize("text", ["datetime,kW\n", "datetime,kW", "datetime,kW\n\n,\n", "", "\n\n"])
def test_a_file_without_rows_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="there are no rows"):
        read_text(text)


def test_a_unit_that_contradicts_the_header_is_refused() -> None:
    text = "datetime,Power (kW)\n2018-08-24T00:00:00Z,40\n2018-08-24T00:15:00Z,40\n"
    for column in (None, "Power (kW)"):
        with pytest.raises(InvalidInput, match=r"--units says kWh, but the header 'Power \(kW\)' says kW"):
            read_text(text, units="kWh", value_column=column)
