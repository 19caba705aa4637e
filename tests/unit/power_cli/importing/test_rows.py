"""Reading rows: every good one comes out, every bad one is named by its line."""

import csv
import io
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from power_cli.importing import frames, records, table
from power_cli.importing.faults import NAMED_ROWS, Faults
from power_cli.importing.layout import SEPARATORS, Layout
from power_cli.importing.parcels import parcels
from power_cli.importing.report import left_out
from power_cli.importing.text import MAX_LINE_CHARACTERS
from shared.contract.acceptance import Rules
from shared.contract.limits import MAX_VALUE
from shared.domain.errors import InvalidInput
from shared.domain.timestamps import LAST_US, iso, moment_us
from tests.support.decoding import decode
from tests.support.importing import NAME, faults, quarters, read_text, readings

NOON = "2024-01-05T12:00:00Z"
NOON_US = moment_us(NOON)
LATER = "2024-01-05T12:30:00Z"

moments_us = st.integers(0, LAST_US)
values = st.floats(0, MAX_VALUE)


@settings(max_examples=50)
@given(
    st.lists(st.tuples(moments_us, values), min_size=1, unique_by=lambda each: each[0]),
    st.sampled_from(list(SEPARATORS)),
    st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_is_written_is_read(readings_: list[tuple[int, float]], separator: str, end: str, quoting: int) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]  # stubs want a literal
    writer.writerow(["note", "datetime", "kWh"])
    writer.writerows(["two\r\nlines, and; | \t more", iso(us), value] for us, value in readings_)
    content = read_text(text.getvalue(), skip_bad=True, decimal="point")
    assert not faults(content)
    expected = [
        (iso(us), value, 2 + 2 * i)
        for us, i, value in sorted((us, i, value) for i, (us, value) in enumerate(readings_))
    ]
    assert [
        (moment, value, line)
        for (moment, value), line in zip(readings(content), content.series.line.tolist(), strict=True)
    ] == expected


@settings(max_examples=50)
@given(st.lists(st.text(max_size=40) | st.sampled_from([NOON, LATER, "1", ",", '"', "\n", "\r", "\0"])))
@example(["0001-01-01T00:00:00+23:59,1"])
@example(["9999-12-31T23:59:59-23:59,1"])
@example([f"{NOON},1_0"])
@example([f"{NOON},\N{ARABIC-INDIC DIGIT ONE}"])
@example([f"{NOON},-0.0"])
def test_whatever_the_file_holds_only_good_readings_come_out(pieces: list[str]) -> None:
    text = "datetime,value\n" + "".join(pieces)
    try:
        content = read_text(text.encode("utf-8", "surrogatepass"), units="kW", skip_bad=True)
    except InvalidInput as error:
        assert str(error)  # noqa: PT017  # any reason will do
        return
    sent = list(parcels(content, NAME))
    assert sum(decode(parcel.body()).received for parcel in sent) == len(content.series)
    assert all(line >= 2 and why for line, why in faults(content))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (f"{NOON},abc", "value is not a number: 'abc'"),
        (",1", "datetime is missing"),
        (NOON, "cells are missing: there are 1, at least 2 are needed"),
        (f"{NOON},1_000", "value is not a number: '1_000'"),
        (f"{NOON},0x10", "value is not a number: '0x10'"),
        (f"{NOON},-inf", "value is not a finite number: '-inf'"),
        (f"{NOON},1.1e9", "value is beyond 1e+09: '1.1e9'"),
        (f"{NOON},1e999", "value is beyond 1e+09: '1e999'"),
        (f"{NOON},-1", "value is negative, --allow-negative accepts it: '-1'"),
        ("noon,1", "datetime is not an ISO 8601 moment such as 2019-01-05T04:37:00Z: 'noon'"),
        ("2024-01-05,1", "datetime is not an ISO 8601 moment such as 2019-01-05T04:37:00Z: '2024-01-05'"),
        ("1969-12-31T23:59:59Z,1", "datetime is outside 1970-01-01 to 2199-12-31: '1969-12-31T23:59:59Z'"),
        (f"{NOON},{'9' * 50}x", f"value is not a number: '{'9' * 40}…'"),
        (f'"{NOON}","1"0', "is not CSV: ',' expected after '\"'"),
        (f'"{NOON}","1', "is not CSV: a quote is opened and not closed"),
        (f"{NOON},1,2", "has 3 cells, the header 2"),
        (f"{NOON},\0", "has a NUL: the file is damaged here, or is no text"),
    ],
)
def test_a_bad_row_is_named_and_its_neighbours_are_taken(row: str, why: str) -> None:
    content = read_text(
        f"datetime,value\n2024-01-05T11:45:00Z,1\n{row}\n2024-01-05T12:15:00Z,2\n", units="kW", skip_bad=True
    )
    assert faults(content) == [(3, why)]
    assert readings(content) == [("2024-01-05T11:45:00Z", 1), (NOON, None), ("2024-01-05T12:15:00Z", 2)]


@pytest.mark.parametrize("text", ["", "-", "NaN", "null", "unavailable", "unknown", "n/a"])
def test_a_value_that_is_missing_is_unknown_and_not_bad(text: str) -> None:
    content = read_text(f"datetime,kW\n2024-01-05T11:45:00Z,1\n{NOON},{text}\n2024-01-05T12:15:00Z,2\n")
    assert readings(content)[1] == (NOON, None)
    assert (content.faults.count, content.checks.missing) == (0, 1)


def test_empty_lines_are_no_rows_and_empty_cells_at_the_end_are_no_cells() -> None:
    content = read_text(f'datetime;kW;\n\n{NOON};1;\n  \n;;\n{LATER};2;;;;\n"2024-01-05T13:00:00Z";"3";""; \n\n')
    assert (content.rows, content.faults.count) == (3, 0)
    assert (content.series.line.tolist(), content.series.value.tolist()) == ([3, 6, 7], [1, 2, 3])


def test_timestamps_and_values_are_those_of_the_contract() -> None:
    text = f"datetime;value\n2024-01-05 13:00+01:00;1e3\n{LATER}Z; 7 \n2024-01-05T24:00:00Z;+.5\n"
    assert readings(read_text(text, units="kW")) == [(NOON, 1000), (LATER, 7), ("2024-01-06T00:00:00Z", 0.5)]


def test_negative_values_are_taken_on_demand_down_to_the_limit() -> None:
    text = f"datetime,kWh\n{NOON},-1e12\n{LATER},-1.1e12\n"
    content = read_text(text, rules=Rules(allow_negative=True))
    assert readings(content) == [(NOON, -1e12), (LATER, None)]
    assert faults(content) == [(3, "value is beyond 1e+12: '-1.1e12'")]


def test_rows_outside_the_services_period_are_named() -> None:
    """One row of a wrong clock would have its whole batch refused."""
    text = f"datetime,kW\n1999-12-31T23:59:59Z,1\n{NOON},2\n2024-01-05T14:00:00Z,3\n"
    content = read_text(text, period=Rules().period(NOON_US))
    assert readings(content) == [(NOON, 2)]
    assert faults(content) == [
        (2, "datetime is before 2000-01-01: check the sender's clock: '1999-12-31T23:59:59Z'"),
        (4, "datetime is 2 h ahead of now: check the sender's clock and its UTC offset: '2024-01-05T14:00:00Z'"),
    ]


def test_only_the_first_bad_rows_are_named() -> None:
    rows = [f"{moment},{'x' if i else 1}\n" for i, moment in enumerate(quarters("2024-01-05", 101))]
    content = read_text("datetime,kW\n" + "".join(rows))
    said = list(left_out(content, NAME))
    assert said[:-1] == [f"x.csv:{line}: value is not a number: 'x'" for line in range(3, 3 + NAMED_ROWS)]
    assert said[-1] == "… and 80 more rows that were left out"


def test_faults_are_named_by_line_in_whatever_order_they_are_found() -> None:
    found = Faults()
    for line in range(1000, 0, -1):
        found.add(line, "bad")
    assert (found.count, [line for line, _ in found.first()]) == (1000, list(range(1, 21)))


def test_a_file_is_read_in_parts_that_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(
        f"{m},{i % 7}\n" if i % 13 else f'"{m}",{i % 7},\n' for i, m in enumerate(quarters("2024-01-05", 100))
    )
    whole = read_text("datetime,kW,note\n" + rows, skip_bad=True)
    monkeypatch.setattr(table, "PART_ROWS", 7)
    parts = read_text("datetime,kW,note\n" + rows, skip_bad=True)
    assert [column.tolist() for column in parts.series.columns()] == [
        column.tolist() for column in whole.series.columns()
    ]
    assert (len(whole.series), parts.rows, parts.faults.count) == (100, 100, 0)


def test_a_file_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "PART_ROWS", 4)
    monkeypatch.setattr(table, "MAX_VALUES", 8)
    rows = [f"{moment},1\n" for moment in quarters("2024-01-05", 9)]
    assert len(read_text("datetime,kW\n" + "".join(rows[:8])).series) == 8
    with pytest.raises(InvalidInput, match="more than 8 values"):
        read_text("datetime,kW\n" + "".join(rows))


def test_a_line_without_an_end_is_not_read_into_memory() -> None:
    read_bytes: list[int] = []
    with pytest.raises(InvalidInput, match="line 2 has more than"):
        read_text("datetime,kW\n" + "x" * (5 * MAX_LINE_CHARACTERS), read_bytes.append)
    assert sum(read_bytes) <= 3 * MAX_LINE_CHARACTERS


def test_a_quote_inside_a_cell_is_part_of_it() -> None:
    text = f'datetime,note,kW\n{NOON},5" pipe,1\n{LATER},6" pipe,2\n2024-01-05T13:00:00Z,"7"" pipe",3\n'
    content = read_text(text)
    assert [value for _, value in readings(content)] == [1, 2, 3]
    assert content.understanding.others["note"] == {'5" pipe', '6" pipe', '7" pipe'}


def test_open_quotes_in_every_line_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each looks at a bounded number of lines behind it."""
    looked = 0
    put_back: Callable[[records.Lines, list[str]], None] = records.Lines.put_back

    def count(lines: records.Lines, given: list[str]) -> None:
        nonlocal looked
        looked += len(given)
        put_back(lines, given)

    monkeypatch.setattr(records.Lines, "put_back", count)
    lines = records.Lines(f'a,"{i}' if i % 200 == 0 else f'a,"{i}"x' for i in range(1000))
    assert sum(each.fault is not None for each in records.records(lines, ",", 2)) == 1000
    assert 0 < looked <= 1000 * records.MAX_ROW_LINES


def test_long_cells_are_bad_and_cost_little() -> None:
    """Some patterns would take the square of the length."""
    long = "1" + " " * 500_000 + "1"
    content = read_text(f"datetime,kW,({'(' * 500_000}\n{NOON},1\n{long},1\n{LATER},{long}\n", skip_bad=True)
    assert [line for line, _ in faults(content)] == [3, 4]
    content = read_text(f"datetime;kW\n05.01.2024 12:00;1\n{long};1\n", skip_bad=True)
    assert [line for line, _ in faults(content)] == [3]


def test_rows_that_are_long_are_read_in_smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = []

    def frame_of(texts: Sequence[str], layout: Layout) -> object:
        lengths.append(len(texts))
        return frames.frame_of(texts, layout)

    monkeypatch.setattr(table, "PART_CHARACTERS", 1000)
    monkeypatch.setattr(table, "frame_of", frame_of)
    read_text("datetime,kW,note\n" + "".join(f"{moment},1,{'x' * 400}\n" for moment in quarters("2024-01-05", 10)))
    assert lengths == [3, 3, 3, 1]


def test_a_header_has_so_many_columns() -> None:
    with pytest.raises(InvalidInput, match="line 1 has 3,001 columns; 2,000 are taken"):
        read_text("datetime" + ",x" * 3000 + "\n")


def test_bytes_that_are_not_utf_8_are_latin_1() -> None:
    text = f"datetime;Verbrauch (kWh);Größe\n{NOON};1;ä\n"
    content = read_text(text.encode("latin-1"))
    assert (content.encoding, content.understanding.layout.header[2]) == ("Latin-1", "Größe")
    assert content.understanding.others["Größe"] == {"ä"}


@pytest.mark.parametrize(
    ("begin", "what"), [(b"PK\x03\x04", "spreadsheet"), (b"\x1f\x8b", "compressed"), (b"PAR1", "Parquet")]
)
def test_a_file_that_is_no_text_is_named(begin: bytes, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        read_text(begin + b"\x00\x01\x02")
