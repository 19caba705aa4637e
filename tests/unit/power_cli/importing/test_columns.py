"""Which columns are meant, which units, and where the header is."""

from typing import Any

import pytest

from power_cli.importing.units import unit_in
from shared.domain.errors import InvalidInput
from tests.support.importing import kwh, quarters, read_text, readings

NOON = "2024-01-05T12:00:00Z"


def _columns(header: str, row: str, **options: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    columns = read_text(f"{header}\n{row}\n", **{"units": "kW", **options}).understanding.columns
    return columns.time + columns.end, columns.value


@pytest.mark.parametrize(
    ("header", "row", "options", "columns"),
    [
        ("datetime,power", f"{NOON},1", {}, ((0,), (1,))),
        ("power,DateTime", f"1,{NOON}", {}, ((1,), (0,))),
        (" datetime , power ,", f"{NOON},1,", {}, ((0,), (1,))),
        ("datetime,temperature,KW", f"{NOON},5,1", {}, ((0,), (2,))),
        ("datetime,kw,kwh", f"{NOON},5,1", {"units": "kWh"}, ((0,), (2,))),
        ("datetime,value,temperature", f"{NOON},1,5", {}, ((0,), (1,))),
        ("at,a,b", f"{NOON},1,5", {"time_column": "At", "value_column": "b"}, ((0,), (2,))),
        ("when exactly,a", f"{NOON},1", {}, ((0,), (1,))),
        ("created,note,a", f"{NOON},x,1", {}, ((0,), (2,))),
        ("From,To,Power (kW),cos phi", f"{NOON},2024-01-05T13:00:00Z,1,0.9", {}, ((0, 1), (2,))),
        ("Datum;Uhrzeit;Leistung in kW;Spannung (V)", "05.01.2024;12:00;1,5;230,1", {}, ((0, 1), (2,))),
        ("Time;Power in kW;Current [A]", "1704456000;1,5;4,1", {}, ((0,), (1,))),
        ("date,time,value", "2024-01-05,12:00,3", {}, ((0, 1), (2,))),
        ("Datum;Zeit von;Zeit bis;kW", "05.01.2024;12:00;12:15;3,5", {}, ((0, 1, 0, 2), (3,))),
        ("unit,datetime,reading", f"kW,{NOON},3", {"units": None}, ((1,), (2,))),
    ],
)
def test_columns_are_found(header: str, row: str, options: dict[str, Any], columns: object) -> None:
    assert _columns(header, row, **options) == columns


@pytest.mark.parametrize(
    ("header", "row", "options", "why"),
    [
        (
            "datetime,a,b",
            f"{NOON},1,2",
            {},
            "which column holds the values? Name it with --value-column: 'datetime', 'a'",
        ),
        ("datetime", NOON, {}, "which column holds the values? Name it with --value-column: 'datetime'"),
        ("datetime,a", f"{NOON},1", {"value_column": "b"}, "there is no column 'b'; choose with --value-column from: "),
        ("datetime,kw,kW", f"{NOON},1,2", {"value_column": "kw"}, "there is more than one column 'kw'; choose with "),
        ("datetime,kw,kW", f"{NOON},1,2", {}, "which column holds the values?"),
        ("datetime,in kW,out kW", f"{NOON},1,2", {}, "which column holds the values?"),
        (
            "time,timestamp,kW",
            f"{NOON},{NOON},2",
            {},
            "which column holds the timestamps? Name it with --time-column: 'time', ",
        ),
        (
            "date,first,second,kW",
            "2024-01-05,12:00,12:15,3",
            {},
            "which column holds the time of day? Join it with the ",
        ),
        (
            "a,b",
            f"{NOON},1",
            {"time_column": "at"},
            "there is no column 'at'; choose with --time-column from: 'a', 'b'",
        ),
        ("datetime,a", f"{NOON},1", {"ship_column": "s"}, "there is no column 's'; choose with --ship-column from: "),
        ("datetime,a", f"{NOON},1", {"where": (("r", "1"),)}, "there is no column 'r'; choose with --where from: "),
        (NOON + ",1", f"{NOON},1", {}, "there is no header: line 1 is a reading already"),
        (
            "some text",
            "and more",
            {},
            "which line is the header? Name the column of the timestamps with --time-column; the",
        ),
        ("datetime,kWh", f"{NOON},1", {}, "--units says kW, but the header 'kWh' says kWh"),
        ("datetime,P [kVA]", f"{NOON},1", {}, "--units says kW, but the header 'P [kVA]' says kVA"),
        (
            "datetime,P [mW]",
            f"{NOON},1",
            {"units": None},
            "the header 'P [mW]' says 'mW', which is no unit of the service",
        ),
        (
            "datetime,a",
            f"{NOON},1",
            {"units": None},
            "the header names no unit; give it with --units: W, kW, MW, Wh, kWh",
        ),
        (
            "datetime,unit,a",
            f"{NOON},kW,1\n{NOON},W,1",
            {"units": None},
            "the column 'unit' says kW, but the column 'unit'",
        ),
        ("datetime,kW", f"{NOON},1", {"counter": True}, "--counter is for units of energy, not kW"),
        (
            "from,to,kW",
            f"{NOON},2024-01-05T13:00:00Z,1",
            {"stamp": "end"},
            "--stamp is for files without a column of the",
        ),
        (
            "from,to,kWh",
            f"{NOON},2024-01-05T13:00:00Z,1",
            {"counter": True, "units": "kWh"},
            "--counter is for files with one",
        ),
    ],
)
def test_what_the_file_does_not_tell_is_asked_for(header: str, row: str, options: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_text(f"{header}\n{row}\n", **{"units": "kW", **options})
    assert str(refusal.value).startswith(why)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Power [W]", "W"),
        ("Verbrauch (kWh)", "kWh"),
        ("power_w", "W"),
        ("ENERGY_KWH", "kWh"),
        ("Active power in MW", "MW"),
        ("energy/Wh", "Wh"),
        ("Power [mW]", "mW"),
        ("power_mw", None),
        ("Energy (GWh)", "GWh"),
        ("Power (average)", None),
        ("kWh per kW", None),
        ("Wirkleistung", None),
        ("Volume [m³]", "m³"),
    ],
)
def test_units_are_read_from_headers(name: str, unit: str | None) -> None:
    assert unit_in(name) == unit


@pytest.mark.parametrize(
    ("unit", "total"), [("W", 0.001), ("kW", 1), ("MW", 1000), ("Wh", 0.004), ("kWh", 4), ("MWh", 4000)]
)
def test_values_of_every_unit_are_sent_as_they_are(unit: str, total: float) -> None:
    rows = "".join(f"{moment},1\n" for moment in quarters("2024-01-05", 4))
    assert kwh(read_text(f"datetime,x [{unit}]\n{rows}")) == pytest.approx(total)


def test_a_unit_above_the_header_counts_where_nothing_else_names_one() -> None:
    text = "Export;\nEinheit;kWh\nDatum;Wert\n05.01.2024 00:00;1\n05.01.2024 00:15;1\n"
    assert read_text(text).understanding.units == "kWh"
    with pytest.raises(InvalidInput, match="--units says kW, but a line above the header says kWh"):
        read_text(text, units="kW")


def test_filters_of_one_column_are_alternatives_and_of_several_all_apply() -> None:
    rows = [
        f"{moment},{a},{b},{i}"
        for i, (moment, a, b) in enumerate(zip(quarters("2024-01-05", 6), "xxyyzz", "pqpqpq", strict=True))
    ]
    text = "\n".join(["datetime,a,b,kW", *rows])
    for where, values in (
        ((("a", "x"),), [0, 1]),
        ((("a", "x"), ("a", "z")), [0, 1, 4, 5]),
        ((("a", "x"), ("b", "q")), [1]),
        ((("A ", " x "), ("b", "q"), ("a", "y")), [1, 3]),
    ):
        assert [value for _, value in readings(read_text(text, where=where))] == values


def test_an_interval_of_clocks_may_end_at_midnight() -> None:
    rows = "".join(f"05.01.2024;{hour}:00;{(hour + 1) % 24}:00;1\n" for hour in range(24))
    content = read_text(f"Datum;Uhrzeit von;Uhrzeit bis;Verbrauch (kWh)\n{rows}")
    assert set(content.series.duration_us.tolist()) == {3_600_000_000}
    assert kwh(content) == 24


def test_a_zone_in_the_header_is_not_contradicted() -> None:
    text = f"Datetime (UTC),kW\n{NOON[:-1]},1\n"
    with pytest.raises(InvalidInput, match="says UTC, but --tz says Europe/Vienna"):
        read_text(text, tz="Europe/Vienna")
    assert readings(read_text(text)) == [(NOON, 1)]


def _day(names: list[str]) -> str:
    return f"day,{','.join(names)}\n2024-01-05,{','.join('1' for _ in names)}\n"


@pytest.mark.parametrize(
    ("names", "options", "first", "minutes"),
    [
        ([f"{hour}:00" for hour in range(24)], {}, "00:00", 60),
        ([f"{hour:02}:00" for hour in range(1, 25)], {}, "00:00", 60),
        ([f"{hour:02}:00:00" for hour in [*range(1, 24), 0]], {}, "00:00", 60),
        ([f"{hour:02}:00 - {hour + 1:02}:00" for hour in range(24)], {}, "00:00", 60),
        ([f"{half // 2:02}:{half % 2 * 30:02}" for half in range(48)], {}, "00:00", 30),
        ([f"{hour:02}:00" for hour in range(6, 12)], {"stamp": "end"}, "05:00", 60),
        ([f"{hour:02}:00" for hour in range(6, 12)], {"stamp": "start"}, "06:00", 60),
        ([f"H{hour:02}" for hour in range(1, 25)], {}, "00:00", 60),
        ([str(number) for number in range(1, 97)], {}, "00:00", 15),
    ],
)
def test_columns_name_the_intervals_of_a_day(
    names: list[str], options: dict[str, Any], first: str, minutes: int
) -> None:
    content = read_text(_day(names), units="kWh", **options)
    assert readings(content)[0][0] == f"2024-01-05T{first}:00Z"
    assert set(content.series.duration_us.tolist()) == {minutes * 60_000_000}
    assert kwh(content) == len(names)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([f"{hour:02}:00" for hour in range(6, 12)], "name starts or ends"),
        ([f"{hour:02}:00" for hour in (0, 1, 2, 4)], "are not in equal steps"),
    ],
)
def test_columns_of_a_day_that_are_not_clear_are_refused(names: list[str], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read_text(_day(names), units="kWh")
