"""Timestamps as people write them."""

import pytest

from power_cli.importing.stamps import Style, fault, find_style, read_stamps
from power_cli.importing.wanted import Wanted
from shared.domain.errors import InvalidInput
from shared.domain.timestamps import iso


def _read(text: str, *others: str) -> str | None:
    """Read a timestamp in a file that also has others; with a Z where it has an offset."""
    texts = [text, *others]
    stamps = read_stamps(texts, find_style(texts, Wanted()))
    if not stamps.is_good[0]:
        return None
    return iso(int(stamps.us[0]))[: -1 if stamps.is_local[0] else None]


@pytest.mark.parametrize(
    ("text", "others", "read"),
    [
        ("2024-02-01T00:15:00Z", [], "2024-02-01T00:15:00Z"),
        ("2024-02-01T00:15:00+02:00", [], "2024-01-31T22:15:00Z"),
        ("2024-02-01 00:15:00", [], "2024-02-01T00:15:00"),
        ("2024-02-01T00:15", [], "2024-02-01T00:15:00"),
        ("20240201T001500", [], "2024-02-01T00:15:00"),
        ("20240201T001500Z", [], "2024-02-01T00:15:00Z"),
        ("2024-02-01 00:15:00 +0100", [], "2024-01-31T23:15:00Z"),
        ("2024-02-01 00:15:00 UTC", [], "2024-02-01T00:15:00Z"),
        ("2024-02-01 24:00", [], "2024-02-02T00:00:00"),
        ("2024-02-01T00:15:00.25Z", [], "2024-02-01T00:15:00.250000Z"),
        ("2024-02-01 0:15", [], "2024-02-01T00:15:00"),
        ("01.02.2024 00:15", [], "2024-02-01T00:15:00"),
        ("1.2.2024 0:15", [], "2024-02-01T00:15:00"),
        ("01.02.24 00:15:30", [], "2024-02-01T00:15:30"),
        ("01.02.2024, 00:15", [], "2024-02-01T00:15:00"),
        ("01.02.2024 24:00", [], "2024-02-02T00:00:00"),
        ("01.02.2024 00:15:00,5", [], "2024-02-01T00:15:00.500000"),
        ("01/02/2024 00:15", ["13/02/2024 00:15"], "2024-02-01T00:15:00"),
        ("01/02/2024 00:15", ["01/13/2024 00:15"], "2024-01-02T00:15:00"),
        ("01/02/2024 12:15 AM", ["01/13/2024 12:15 PM"], "2024-01-02T00:15:00"),
        ("01/13/2024 1:15:00pm", [], "2024-01-13T13:15:00"),
        ("01-02-2024 00:15", ["31-01-2024 00:15"], "2024-02-01T00:15:00"),
        ("2024/02/01 00:15", [], "2024-02-01T00:15:00"),
        ("202402010015", [], "2024-02-01T00:15:00"),
        ("20240201001530", [], "2024-02-01T00:15:30"),
        ("01-Feb-2024 00:15", [], "2024-02-01T00:15:00"),
        ("1 February 2024 00:15", [], "2024-02-01T00:15:00"),
        ("01.02.2024", [], "2024-02-01T00:00:00"),
        ("2024-02-01", [], "2024-02-01T00:00:00"),
        ("1706746500", [], "2024-02-01T00:15:00Z"),
        ("1706746500.5", [], "2024-02-01T00:15:00.500000Z"),
        ("1706746500000", [], "2024-02-01T00:15:00Z"),
        ("31.02.2024 00:15", ["01.02.2024 00:15"], None),
        ("01.02.2024", ["01.02.2024 00:15"], None),
        ("13/13/2024 00:15", ["13/01/2024 00:15"], None),
        ("1706746500", ["2024-02-01T00:15:00Z", "2024-02-01T00:30:00Z"], None),
        ("01.02.1950 00:15", ["01.02.2024 00:15"], None),
    ],
)
def test_timestamps_are_read(text: str, others: list[str], read: str | None) -> None:
    assert _read(text, *others) == read


@pytest.mark.parametrize("text", ["01/02/2024 00:15", "01-02-2024", "1/2/24 0:15"])
def test_day_and_month_that_cannot_be_told_apart_are_asked_for(text: str) -> None:
    with pytest.raises(InvalidInput, match="day-first"):
        find_style([text], Wanted())
    for day_first, month in ((True, 2), (False, 1)):
        stamps = read_stamps([text], find_style([text], Wanted(day_first=day_first)))
        assert iso(int(stamps.us[0])).startswith(f"2024-0{month}-")


def test_day_and_month_may_be_told_by_a_late_row() -> None:
    texts = [f"01/02/2024 {minute // 60:02}:{minute % 60:02}" for minute in range(1440)] + ["01/13/2024 00:00"]
    assert find_style(texts, Wanted()).date == "%m/%d/%Y"


def test_a_timestamp_that_is_not_like_the_others_is_said_to_be_so() -> None:
    style = find_style(["01.02.2024 00:15"], Wanted())
    assert fault("2024-02-01", style) == "datetime is not like the others, dates as day.month.year: '2024-02-01'"
    assert fault("", style) == "datetime is missing"
    assert fault("x", Style(is_number=True)) == (
        "datetime is not like the others, seconds or milliseconds since 1970: 'x'"
    )
