"""Moments: every ISO 8601 form that is taken, every text that is not, and the way back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.timestamps import EPOCH, LAST_US, NOT_A_MOMENT, ONE_US, iso, moment_us

offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))

SAME_MOMENT = [
    "2019-01-05T04:37:00Z",
    "2019-01-05T04:37:00ZZ",
    "2019-01-05T04:37:00",
    "2019-01-05T04:37",
    "2019-01-05T04:37Z",
    "2019-01-05T04:37ZZ",
    "2019-01-05 04:37:00Z",
    "2019-01-05T04:37:00.0Z",
    "2019-01-05T04:37:00.000000Z",
    "2019-01-05T04:37:00,000Z",
    "2019-01-05T04:37:00.0000009Z",
    "2019-01-05T04:37:00+00:00",
    "2019-01-05T04:37:00-00:00",
    "2019-01-05T06:37:00+02:00",
    "2019-01-05T06:37:00+0200",
    "2019-01-05T06:37:00+02",
    "2019-01-04T17:07:00-11:30",
    "2019-01-05T18:37:00+14:00",
    "2019-01-06T04:36:00+23:59",
    "20190105T043700Z",
    "20190105T0437Z",
    "2019-W01-6T04:37:00Z",
]


@pytest.mark.parametrize("text", SAME_MOMENT)
def test_every_iso_8601_form_of_a_moment_is_that_moment(text: str) -> None:
    """An offset is converted to UTC, none means UTC, a doubled Z is taken."""
    assert iso(moment_us(text)) == "2019-01-05T04:37:00Z"


@pytest.mark.parametrize(
    ("fraction", "us"),
    [
        (".1", 100_000),
        (".5", 500_000),
        (",5", 500_000),
        (".12", 120_000),
        (".123", 123_000),
        (".123456", 123_456),
        (".000001", 1),
        (".1234567", 123_456),
        (".9999999", 999_999),
        (".999999999999", 999_999),
    ],
)
@pytest.mark.parametrize("zone", ["", "Z", "ZZ", "+02:00", "-0730"])
def test_a_fraction_counts_to_the_microsecond(fraction: str, us: int, zone: str) -> None:
    """What is finer than a microsecond is cut off, never rounded into the next second."""
    whole_us = moment_us(f"2019-01-05T04:37:00{zone}")
    assert moment_us(f"2019-01-05T04:37:00{fraction}{zone}") == whole_us + us


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00", 0),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("2199-12-31T23:59:59.999999Z", LAST_US),
        ("2199-12-31T23:59:59.9999999Z", LAST_US),
        ("2200-01-01T01:59:59.999999+02:00", LAST_US),
    ],
)
def test_the_first_and_the_last_moment_are_taken(text: str, us: int) -> None:
    """1970-01-01 to 2199-12-31, both days whole, in UTC."""
    assert moment_us(text) == us


@pytest.mark.parametrize(
    "text",
    [
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00+00:01",
        "2200-01-01T00:00:00Z",
        "2199-12-31T23:59:59.999999-00:01",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59.999999-23:59",
    ],
)
def test_a_moment_beyond_the_bounds_is_refused_with_the_bounds(text: str) -> None:
    """1970-01-01 to 2199-12-31, and the sentence says so."""
    with pytest.raises(ValueError, match="is outside 1970-01-01 to 2199-12-31"):
        moment_us(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "T",
        "now",
        "1546663020",
        "2019-01-05",
        "2019-01-05T",
        "04:37:00Z",
        "2019-13-05T04:37:00Z",
        "2019-02-29T04:37:00Z",
        "2019-01-00T04:37:00Z",
        "0000-01-01T00:00:00Z",
        "2019-01-05T25:00:00Z",
        "2019-01-05T04:60:00Z",
        "2019-01-05T04:37:61Z",
        "2019-01-05T24:00:01Z",
        "2019-01-05T24:01Z",
        "2019-01-05T4:37:00Z",
        "2019-1-5T04:37:00Z",
        "05.01.2019T04:37:00Z",
        "2019-01-05X04:37:00Z",
        "2019-01-05TT04:37:00Z",
        "2019-01-05T04:37:00ZZZ",
        "2019-01-05T04:37:00Z+01:00",
        "2019-01-05T04:37:00+01:00Z",
        "2019-01-05T04:37:00+01:00ZZ",
        "2019-01-05T04:37:00+24:00",
        "2019-01-05T04:37:00-25:00",
        "2019-01-05T04:37:00+1",
        "2019-01-05T04:37:00 02:00",
        "2019-01-05T04:37:00\N{MINUS SIGN}02:00",
        "2019-01-05T04:37:00 UTC",
        "+2019-01-05T04:37:00Z",
        " 2019-01-05T04:37:00Z",
        "2019-01-05T04:37:00Z ",
        "2019-01-05T04:37:00Z\n",
        "\N{ARABIC-INDIC DIGIT TWO}019-01-05T04:37:00Z",
        "2019-01-05T04:37:0\N{ARABIC-INDIC DIGIT ONE}Z",
        "2019-01-05T04:37:00\ud800Z",
    ],
)
def test_what_is_no_moment_is_refused(text: str) -> None:
    """Anything but ISO 8601 with a date and a time of day."""
    with pytest.raises(ValueError, match=NOT_A_MOMENT):
        moment_us(text)


@pytest.mark.parametrize(
    "text",
    [
        "2019-01-05T04:37:00aZ",
        "2019-01-05T04:37:00 Z",
        "2019-01-05T04:37:00\x00Z",
        "2019-01-05T04:37:00\x00",
        "2019-01-05T04:37:00x+01:00",
        "2019-01-05T04:37:00 +01:00",
        "2019-01-05T04:37:00.Z",
        "2019-01-05T04:37:00+00:60",
        "2019-01-05\N{LATIN SMALL LETTER E WITH ACUTE}04:37TZ",
        "2019-01-05_04:37:00tZ",
    ],
)
def test_rubbish_inside_a_moment_is_refused(text: str) -> None:
    """`datetime.fromisoformat` overlooks a character before the zone, and any separator: the contract does not."""
    with pytest.raises(ValueError, match=NOT_A_MOMENT):
        moment_us(text)


@given(st.integers(0, LAST_US))
def test_iso_is_read_back_as_the_same_microsecond(us: int) -> None:
    """What we write we read, every microsecond of the range."""
    assert moment_us(iso(us)) == us


@given(st.integers(0, LAST_US), offsets)
def test_a_moment_is_the_same_in_every_zone(us: int, zone: timezone) -> None:
    """Offsets are exact, also where they lead out of the range of local years."""
    local = (EPOCH + us * ONE_US).astimezone(zone)
    assert moment_us(local.isoformat()) == us
    assert moment_us(local.isoformat(" ")) == us


@given(st.one_of(st.integers(max_value=-1), st.integers(min_value=LAST_US + 1)), offsets)
def test_no_moment_beyond_the_range_is_taken(us: int, zone: timezone) -> None:
    """However it is written."""
    try:
        local = (EPOCH + us * ONE_US).astimezone(zone)
    except OverflowError:
        return  # there is no such year
    with pytest.raises(ValueError, match="is outside"):
        moment_us(local.isoformat())


@given(st.one_of(st.text(), st.text("0123456789-:+.,TtZzW \x00", max_size=40), st.from_regex(r"2\d{3}-\d\d-\d\dT.*")))
def test_any_text_is_a_moment_of_the_range_or_a_value_error(text: str) -> None:
    """Nothing else comes out of the parser, whatever goes in."""
    why, us = "", 0
    try:
        us = moment_us(text)
    except ValueError as error:
        why = str(error)
    assert why in {"", NOT_A_MOMENT, "is outside 1970-01-01 to 2199-12-31"}
    assert 0 <= us <= LAST_US


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (1_546_663_020_500_000, "2019-01-05T04:37:00.500000Z"),
        (LAST_US, "2199-12-31T23:59:59.999999Z"),
    ],
)
def test_iso_writes_utc_and_no_needless_fraction(us: int, text: str) -> None:
    """The form of all answers."""
    assert iso(us) == text
    assert datetime.fromisoformat(text) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
