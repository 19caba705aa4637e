"""Columns written at once say what their values say one by one."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.answers.cells import FEW, Cells, joined, texts, timestamps
from query_api.answers.columns import Column
from query_api.answers.rows import numbers
from shared.domain.slots import SLOT_S

millionths = st.one_of(st.integers(-200, 200), st.integers(-(10**9), 10**9), st.integers(-(2 * 10**15), 2 * 10**15))
energies = st.one_of(
    st.floats(-1000, 1000), st.floats(-1e18, 1e18), millionths.map(lambda each: each / 1e6), st.integers(-5, 5)
)


def written(column: Column) -> list[str]:
    """Write a column of values."""
    return lines(texts(column))


def lines(cells: Cells) -> list[str]:
    """Join cells to a line each."""
    return joined([cells, b"\n"]).decode().splitlines()


@given(st.lists(energies.map(float), min_size=1, max_size=20))
def test_many_numbers_are_written_as_python_writes_each(values: list[float]) -> None:
    """As `numbers` rounds them, however many they are and whatever else is in the column."""
    expected = [str(each) for each in numbers(np.array(values))]
    assert written(np.array(values)) == expected
    assert written(np.array(values * FEW)) == expected * FEW
    for value, text in zip(values, expected, strict=True):
        assert written(np.full(FEW, value)) == [text] * FEW


@pytest.mark.parametrize(
    "value", [0.000_099, 0.0001, 1e-6, -1e-7, 999_999_999.999_999, 1e9, 1e9 + 1e-6, 0.1, 0.000_101]
)
def test_numbers_at_the_edges_of_what_is_written_at_once_are_the_same(value: float) -> None:
    for each in (value, -value):
        assert written(np.full(FEW, each)) == [str(numbers(np.array([each]))[0])] * FEW


def test_truths_and_counts_are_columns_too() -> None:
    assert written(np.array([True, False] * FEW)) == ["true", "false"] * FEW
    assert written(np.arange(2 * FEW)) == [str(each) for each in range(2 * FEW)]


@given(
    st.lists(st.integers(0, 7_258_118_400 // SLOT_S - 1), min_size=1, max_size=2 * FEW),
    st.sampled_from(
        ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Monrovia", "Asia/Kathmandu"]
    ),
)
def test_timestamps_are_those_of_the_zone(slots: list[int], zone: str) -> None:
    """With the offset that the zone has then, in seconds where it has them; `Z` is that of UTC."""
    start_s = np.array(sorted(slots), np.int64) * SLOT_S
    expected = [datetime.fromtimestamp(each, ZoneInfo(zone)).isoformat() for each in start_s.tolist()]
    if zone == "UTC":
        expected = [each.replace("+00:00", "Z") for each in expected]
    assert lines(timestamps(start_s, zone)) == expected


def test_days_may_go_back_where_clocks_are_put_back_over_midnight() -> None:
    """In St John's 2010-11-07 began twice: at one minute past midnight it was 23:01 again."""
    start_s = np.arange(2 * FEW) * SLOT_S + int(datetime(2010, 11, 7, 2, 30, tzinfo=UTC).timestamp())
    found = lines(timestamps(start_s, "America/St_Johns"))
    assert found[:2] == ["2010-11-07T00:00:00-02:30", "2010-11-06T23:15:00-03:30"]
    assert [datetime.fromisoformat(each).timestamp() for each in found] == start_s.tolist()


def test_rows_are_constant_texts_and_cells_side_by_side() -> None:
    """Cells of different lengths leave no gaps."""
    assert joined([b"<", np.array([b"a", b"bcd"]), b"|", np.array([b"1234", b""]), b">\n"]) == b"<a|1234>\n<bcd|>\n"
