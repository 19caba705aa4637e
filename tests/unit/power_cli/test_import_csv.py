"""Reading a CSV: every good row comes out, every bad one is named by its line."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from power_cli import import_csv
from power_cli.import_csv import BATCH_READINGS, NAMED_ROWS, Row, Table, Tally, find_columns, parcels, rows
from shared.contract.acceptance import Rules
from shared.contract.limits import MAX_VALUE
from shared.domain.errors import InvalidInput
from shared.domain.timestamps import LAST_US, US_PER_S, iso, moment_us
from shared.runtime.settings import MAX_GAP_S
from tests.support.decoding import decode

KW = Table("kW")
NOON = "2024-01-05T12:00:00Z"
NOON_US = moment_us(NOON)

moments_us = st.integers(0, LAST_US)
values = st.floats(0, MAX_VALUE)


def _read(text: str, table: Table = KW) -> tuple[list[Row], list[tuple[int, str]]]:
    bad: list[tuple[int, str]] = []
    lines = io.StringIO(text, newline="")
    return list(rows(lines, table, lambda line, why: bad.append((line, why)))), bad


@given(
    st.lists(st.tuples(moments_us, values)),
    st.sampled_from(import_csv.DELIMITERS),
    st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_is_written_is_read(readings: list[tuple[int, float]], delimiter: str, end: str, quoting: int) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]  # stubs want a literal
    writer.writerow(["note", "datetime", "kW"])
    writer.writerows(["two\r\nlines, and; more", iso(us), value] for us, value in readings)
    good, bad = _read(text.getvalue())
    assert not bad
    assert [(row.moment_us, row.value) for row in good] == readings
    assert [row.line for row in good] == [2 + 2 * i for i in range(len(readings))]


@given(st.lists(st.text(max_size=40) | st.sampled_from([NOON, "1", ",", '"', "\n", "\r", "\0"])))
@example(["0001-01-01T00:00:00+23:59,1"])
@example(["9999-12-31T23:59:59-23:59,1"])
@example([f"{NOON},1_0"])
@example([f"{NOON},\N{ARABIC-INDIC DIGIT ONE}"])
@example([f"{NOON},-0.0"])
def test_whatever_the_file_holds_only_good_readings_come_out(pieces: list[str]) -> None:
    good, bad = _read("datetime,value\n" + "".join(pieces))
    sent = parcels(iter(good), "x.csv", 1, "kW")
    assert sum(decode(parcel.body()).received for parcel in sent) == len(good)
    assert all(line >= 2 and why for line, why in bad)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (f"{NOON},abc", "value is not a number: 'abc'"),
        (f"{NOON},", "value is missing"),
        (",1", "datetime is missing"),
        (",", "datetime is missing"),
        (NOON, "cells are missing: there are 1, at least 2 are needed"),
        (f"{NOON},1_000", "value is not a number: '1_000'"),
        (f"{NOON},0x10", "value is not a number: '0x10'"),
        (f"{NOON},nan", "value is not a finite number: 'nan'"),
        (f"{NOON},1e999", "value is not a finite number: '1e999'"),
        (f"{NOON},1.1e12", "value is beyond 1e+12: '1.1e12'"),
        (f"{NOON},-1", "value is negative, --allow-negative accepts it: '-1'"),
        ("noon,1", "datetime is not an ISO 8601 moment such as 2019-01-05T04:37:00Z: 'noon'"),
        ("2024-01-05,1", "datetime is not an ISO 8601 moment such as 2019-01-05T04:37:00Z: '2024-01-05'"),
        ("1969-12-31T23:59:59Z,1", "datetime is outside 1970-01-01 to 2199-12-31: '1969-12-31T23:59:59Z'"),
        (f"{NOON},{'9' * 50}x", f"value is not a number: '{'9' * 40}…'"),
        (f'"{NOON}","1"0', "is not CSV, up to line 3: ',' expected after '\"'"),
    ],
)
def test_a_bad_row_is_named_and_its_neighbours_are_taken(row: str, why: str) -> None:
    good, bad = _read(f"datetime,value\n{NOON},1\n{row}\n{NOON},2\n")
    assert bad == [(3, why)]
    assert [(each.line, each.value) for each in good] == [(2, 1), (4, 2)]


def test_a_quote_that_is_never_closed_is_named_with_the_lines_it_swallows() -> None:
    good, bad = _read(f'datetime,value\n{NOON},1\n"{NOON},2\n{NOON},3\n')
    assert bad == [(3, "is not CSV, up to line 4: unexpected end of data")]
    assert good == [Row(2, NOON_US, 1)]


def test_empty_lines_are_no_rows() -> None:
    assert _read(f"datetime,value\n\n{NOON},1\n  \n\n") == ([Row(3, NOON_US, 1)], [])


def test_moments_and_values_are_those_of_the_contract() -> None:
    text = "datetime;value\n2024-01-05 13:00+01:00;1e3\n2024-01-05T12:00:00ZZ; 7 \n"
    assert _read(text) == ([Row(2, NOON_US, 1000), Row(3, NOON_US, 7)], [])


def test_negative_values_are_taken_on_demand_down_to_the_limit() -> None:
    text = f"datetime,value\n{NOON},-1e12\n{NOON},-1.1e12\n"
    good, bad = _read(text, Table("kW", allow_negative=True))
    assert [row.value for row in good] == [-1e12]
    assert bad == [(3, "value is beyond 1e+12: '-1.1e12'")]


@pytest.mark.parametrize(
    ("header", "table", "columns"),
    [
        ("datetime,power", KW, (0, 1)),
        ("power,DateTime", KW, (1, 0)),
        (" datetime , power ,", KW, (0, 1)),
        ("datetime,temperature,KW", KW, (0, 2)),
        ("datetime,kw,kwh", Table("kWh"), (0, 2)),
        ("datetime,value,kwh", KW, (0, 1)),
        ("datetime,kwh", Table("kW", value_column="kWh"), (0, 1)),
        ("at,a,b", Table("kW", "At", "b"), (0, 2)),
    ],
)
def test_the_header_tells_the_columns(header: str, table: Table, columns: tuple[int, int]) -> None:
    assert find_columns(header.split(","), table) == columns


@pytest.mark.parametrize(
    ("header", "table", "why"),
    [
        ("time,kw", KW, "there is no column 'datetime'; choose with --time-column from: 'time', 'kw'"),
        ("datetime,a,b", KW, "which column holds the values? Name it with --value-column: 'datetime', 'a', 'b'"),
        ("datetime", KW, "which column holds the values? Name it with --value-column: 'datetime'"),
        ("datetime,a", Table("kW", value_column="b"), "there is no column 'b'; choose with --value-column from: "),
        ("datetime,kw,kW", KW, "there is more than one column 'kw'; choose with --value-column from: "),
        ("datetime,kWh", KW, "the values are in 'kWh', but --units says kW; if that is right, name the column"),
        ("", KW, "there is no column 'datetime'; choose with --time-column from: there are no columns"),
    ],
)
def test_a_header_that_does_not_tell_is_refused_with_its_columns(header: str, table: Table, why: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        _read(f"{header}\n", table)
    assert str(refusal.value).startswith(why)


def test_a_header_that_is_not_csv_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the header is not CSV"):
        _read('"datetime"x,value\n')


def test_batches_hold_ten_thousand_readings_in_the_order_of_the_file() -> None:
    count = 2 * BATCH_READINGS + 1
    good = (Row(2 + i, NOON_US, float(i)) for i in range(count))
    sent = list(parcels(good, "x.csv", 5, "kWh"))
    assert [each.name for each in sent] == ["x.csv:2-10001", "x.csv:10002-20001", "x.csv:20002-20002"]
    assert [value for each in sent for value in each.value] == list(range(count))
    assert {(each.ship, each.units) for each in sent} == {(5, "kWh")}
    assert len({each.batch_id for each in sent}) == 3


@pytest.mark.parametrize("step_days", [1, 7, 31])
def test_no_batch_makes_more_slots_than_the_service_takes(step_days: int) -> None:
    """Whatever its longest gap is: ten years of daily readings are several batches, in the order of the file."""
    good = [Row(2 + i, NOON_US - i * step_days * 86_400_000_000, float(i)) for i in range(3653 // step_days)]
    sent = list(parcels(iter(good), "x.csv", 1, "kWh"))
    for parcel in sent:
        decode(parcel.body(), max_gap_us=MAX_GAP_S * US_PER_S)
    assert [value for each in sent for value in each.value] == [row.value for row in good]
    assert 2 <= len(sent) <= 4


def test_rows_outside_the_services_period_are_named() -> None:
    """One row of a wrong clock would have its whole batch refused."""
    period = Rules().period(NOON_US)
    text = f"datetime,kW\n1999-12-31T23:59:59Z,1\n{NOON},2\n2024-01-05T14:00:00Z,3\n"
    good, bad = _read(text, Table("kW", period=period))
    assert [row.value for row in good] == [2]
    assert bad == [
        (2, "datetime is before 2000-01-01: check the sender's clock: '1999-12-31T23:59:59Z'"),
        (
            4,
            "datetime is 2 h ahead of now: check the sender's clock and its UTC offset: '2024-01-05T14:00:00Z'",
        ),
    ]


def test_only_the_first_bad_rows_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally("x.csv")
    for line in range(2, 102):
        tally.bad(line, "is bad")
    assert capsys.readouterr().err.splitlines() == [f"x.csv:{line}: is bad" for line in range(2, 2 + NAMED_ROWS)]
    assert str(tally) == "x.csv: 0 readings sent, 100 rows left out"
    [parcel] = parcels(iter([Row(3, NOON_US, 1.0), Row(4, 0, 2.0)]), "x.csv", 1, "kW")
    tally.good(parcel)
    assert str(tally) == f"x.csv: 2 readings sent, 100 rows left out, 1970-01-01T00:00:00Z to {NOON}"
