"""The parameters of the queries: every form that is taken, and a name for every one that is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from query_api.routes.energy import ShipParameters
from query_api.routes.parameters import WindowParameters
from query_api.routes.top_users import MAX_COUNT, TopParameters
from shared.domain.errors import InvalidInput
from shared.domain.readings import MAX_SHIP
from shared.domain.slots import SLOT_S, Window
from shared.domain.timestamps import LAST_US, iso, moment_us
from shared.http.parameters import parse

MODELS: list[type[WindowParameters]] = [ShipParameters, TopParameters, WindowParameters]
START_US = moment_us("2018-08-24T00:00:00Z")


def window(**arguments: str) -> Window:
    """Parse a window."""
    return parse(WindowParameters, MultiDict(arguments)).window


def named(model: type[WindowParameters], *arguments: tuple[str, str]) -> list[str]:
    """Give the parameters that a refusal names."""
    with pytest.raises(InvalidInput) as caught:
        parse(model, MultiDict(arguments))
    assert all(each.problem for each in caught.value.problems)
    return sorted(each.at for each in caught.value.problems)


@pytest.mark.parametrize(
    "text",
    [
        "2018-08-24T00:00:00Z",
        "2018-08-24T00-00-00Z",
        "2018-08-24T00:00Z",
        "2018-08-24T00-00Z",
        "2018-08-24T00:00:00",
        "2018-08-24T00-00-00",
        "2018-08-24T00-00",
        "2018-08-24T00:00:00ZZ",
        "2018-08-24T00-00-00ZZ",
        "2018-08-24T00:00:00.000Z",
        "2018-08-24T00-00-00.000Z",
        "20180824T000000Z",
        "2018-08-24T02:00:00+02:00",
        "2018-08-24T02-00-00+02:00",
        "2018-08-24T02:00:00 02:00",
        "2018-08-24T02-00-00 02:00",
        "2018-08-24T02:00:00 0200",
        "2018-08-24T02-00-00.000 02:00",
        "2018-08-23T22:00:00-02:00",
        "2018-08-23T22-00-00-02:00",
        "2018-08-24 00:00:00Z",
        "2018-08-24 00-00-00Z",
        "2018-08-24",
        "2018-08-24 02:00:00 02:00",
        "2018-08-24t02:00:00 02:00",
        "2018-08-24 02:00:00  0200",
        "2018-08-24 02:00:00 +0200",
        "2018-08-23 22:00 -02:00",
        "20180824T02 02",
    ],
)
def test_every_form_of_a_moment_is_taken(text: str) -> None:
    """The time's parts joined by `:` or by `-`; a `+` that the URL turned into a blank is a `+`; midnight of a date."""
    assert parse(WindowParameters, MultiDict({"start": text})).start == START_US


@given(st.integers(0, LAST_US // 1_000_000).map(lambda seconds: seconds * 1_000_000))
def test_dashes_say_the_same_as_colons(us: int) -> None:
    """For every second of the range."""
    date, time = iso(us).split("T")
    dashed = f"{date}T{time.replace(':', '-')}"
    assert parse(WindowParameters, MultiDict({"end": dashed})).end == us


@given(st.integers(0, LAST_US), st.integers(0, LAST_US))
def test_a_window_is_widened_to_whole_slots(one_us: int, other_us: int) -> None:
    """[start, end) lies inside of it, and it is the smallest such one; only an empty one stays empty."""
    start_us, end_us = sorted((one_us, other_us))
    widened = window(start=iso(start_us), end=iso(end_us))
    assert widened.start_s is not None
    assert widened.end_s is not None
    assert widened.start_s % SLOT_S == widened.end_s % SLOT_S == 0
    if start_us == end_us:
        assert widened.start_s == widened.end_s
    else:
        slot_us = SLOT_S * 1_000_000
        assert 0 <= start_us - widened.start_s * 1_000_000 < slot_us
        assert 0 <= widened.end_s * 1_000_000 - end_us < slot_us


def test_a_bound_left_out_is_open() -> None:
    """All time where both are."""
    assert window() == Window(None, None)
    assert window(start="2018-08-24T00:07:00Z") == Window(START_US // 1_000_000, None)
    assert window(end="2018-08-24T00:07:00Z") == Window(None, START_US // 1_000_000 + SLOT_S)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "20180824",
        "2018-08",
        "2018-02-30",
        "2018-08-24Z",
        "1535068800",
        "2018-13-24T00:00:00Z",
        "2018-08-24T24-30-00Z",
        "2018-08-24T00-60-00Z",
        "2018-08-24T00-0-0Z",
        "2018-08-24T00:00:00 2:00",
        "2018-08-24T00:00:00xZ",
        "2018-08-24T00:00:00 Z",
        "1969-12-31T23:59:59Z",
        "1969-12-31",
        "0001-01-01",
        "10000-01-01T00:00:00Z",
        "9999-13-31T00:00:00Z",
        "\N{REPLACEMENT CHARACTER}",
        "2018-08-24T00:00:00Z'; DROP TABLE energy; --",
    ],
)
@pytest.mark.parametrize("bound", ["start", "end"])
def test_a_wrong_moment_is_named(bound: str, text: str) -> None:
    """422 names the parameter."""
    assert named(WindowParameters, (bound, text)) == [bound]


@pytest.mark.parametrize(
    "end",
    [
        "2200-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.9999999Z",
        "9999-12-31T23:59:59-14:00",
        "9999-12-31T24:00:00Z",
        "9999-12-31",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_an_end_after_the_last_timestamp_is_none(end: str, zone: str) -> None:
    """Whatever computes with it has no year 9999; as a start it is an error."""
    asked = parse(ShipParameters, MultiDict({"spaceship_id": "1", "start": iso(START_US), "end": end, "tz": zone}))
    assert asked.window == Window(START_US // 1_000_000, None)
    assert named(ShipParameters, ("spaceship_id", "1"), ("start", end), ("tz", zone)) == ["start"]


@pytest.mark.parametrize(
    ("date", "zone", "start"),
    [
        ("2025-10-26", "UTC", "2025-10-26T00:00:00Z"),
        ("2025-10-26", "Europe/Berlin", "2025-10-25T22:00:00Z"),
        ("2025-10-26", "europe/BERLIN", "2025-10-25T22:00:00Z"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),  # its first hour is left out
        ("2025-11-02", "America/Havana", "2025-11-02T04:00:00Z"),  # its first hour comes twice
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z"),  # there was no such day
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00Z"),
        ("1970-01-01", "Europe/Berlin", "1970-01-01T00:00:00Z"),
    ],
)
def test_a_date_alone_is_when_it_begins_in_the_zone(date: str, zone: str, start: str) -> None:
    asked = parse(ShipParameters, MultiDict({"spaceship_id": "1", "start": date, "tz": zone}))
    assert asked.start == moment_us(start)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("utc", "UTC"),
        ("Utc", "UTC"),
        ("europe/berlin", "Europe/Berlin"),
        ("AMERICA/NEW_YORK", "America/New_York"),
        ("etc/gmt 5", "Etc/GMT+5"),
    ],
)
def test_a_zone_is_known_in_any_case(written: str, name: str) -> None:
    assert parse(ShipParameters, MultiDict({"spaceship_id": "1", "tz": written})).tz == name


@pytest.mark.parametrize("zone", ["", "localtime", "Berlin", "+02:00", "CEST2", "../UTC"])
def test_a_wrong_zone_is_named_and_a_date_beside_it_is_not(zone: str) -> None:
    assert named(ShipParameters, ("spaceship_id", "1"), ("start", "2025-10-26"), ("tz", zone)) == ["tz"]


@pytest.mark.parametrize("model", MODELS)
def test_an_end_before_the_start_is_named(model: type[WindowParameters]) -> None:
    """Of the two it is `end`, by however little."""
    ship = [("spaceship_id", "1")] if model is ShipParameters else []
    bounds = [("start", "2018-08-24T00:00:00.000001Z"), ("end", "2018-08-24T00:00:00Z")]
    assert named(model, *ship, *bounds) == ["end"]


@pytest.mark.parametrize("ship", ["0", "1", "42", str(MAX_SHIP)])
def test_every_ship_is_taken(ship: str) -> None:
    """0 to 2^53-1."""
    assert parse(ShipParameters, MultiDict({"spaceship_id": ship})).spaceship_id == int(ship)


@pytest.mark.parametrize(
    "ship",
    ["", "x", "-1", "1.5", "1e3", "0x1", "1_0", "true", "null", str(MAX_SHIP + 1), "9" * 400, "9" * 5000, "1,2", "[1]"],
)
def test_a_wrong_ship_is_named(ship: str) -> None:
    """Anything but an integer from 0 to 2^53-1."""
    assert named(ShipParameters, ("spaceship_id", ship)) == ["spaceship_id"]


def test_a_missing_ship_is_named() -> None:
    """GET /data is about one ship."""
    assert named(ShipParameters) == ["spaceship_id"]


@pytest.mark.parametrize(("count", "meant"), [("1", 1), ("3", 3), (str(MAX_COUNT), MAX_COUNT), (None, 3)])
def test_the_count_is_3_where_left_out(count: str | None, meant: int) -> None:
    """And at least 1."""
    assert parse(TopParameters, MultiDict({} if count is None else {"count": count})).count == meant


@pytest.mark.parametrize("count", ["", "0", "-1", "x", "1.5", "all", "1_0", str(MAX_COUNT + 1), "9" * 5000])
def test_a_wrong_count_is_named(count: str) -> None:
    """422 names the parameter."""
    assert named(TopParameters, ("count", count)) == ["count"]


@pytest.mark.parametrize(("text", "meant"), [("true", True), ("false", False), ("1", True), ("0", False)])
def test_detail_is_on_or_off(text: str, meant: bool) -> None:  # noqa: FBT001  # what the table says
    """Off where left out."""
    assert parse(WindowParameters, MultiDict({"detail": text})).detail is meant
    assert parse(WindowParameters, MultiDict()).detail is False


@pytest.mark.parametrize("text", ["", "maybe", "2", "truee"])
def test_a_wrong_detail_is_named(text: str) -> None:
    """422 names the parameter."""
    assert named(WindowParameters, ("detail", text)) == ["detail"]


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (WindowParameters, "spaceship_id"),
        (WindowParameters, "count"),
        (TopParameters, "spaceship_id"),
        (WindowParameters, "Start"),
        (TopParameters, "limit"),
        (WindowParameters, "end "),
        (WindowParameters, "window"),
        (WindowParameters, "model_config"),
        (WindowParameters, "__class__"),
    ],
)
def test_an_unknown_parameter_is_named(model: type[WindowParameters], name: str) -> None:
    """A misspelt one must not be silently left out."""
    assert named(model, (name, "1")) == [name]


@pytest.mark.parametrize("name", ["spaceship_id", "start", "end", "detail"])
@pytest.mark.parametrize("other", ["same", "another"])
def test_a_parameter_given_twice_is_named(name: str, other: str) -> None:
    """Also where both say the same: which one was meant is not for us to guess."""
    good = {"spaceship_id": "1", "start": iso(START_US), "end": iso(START_US), "detail": "true"}
    again = good[name] if other == "same" else "0"
    assert named(ShipParameters, *good.items(), (name, again)) == [name]


def test_every_wrong_parameter_is_named() -> None:
    """Wrong, missing and unknown ones at once."""
    wrong = [("start", "x"), ("end", "y"), ("detail", "z"), ("foo", "1")]
    assert named(ShipParameters, *wrong) == ["detail", "end", "foo", "spaceship_id", "start"]


def test_what_is_given_twice_is_named_beside_what_else_is_wrong() -> None:
    """`parse` says that it names every parameter that is wrong, missing, unknown or given twice."""
    arguments = [("start", iso(START_US)), ("start", iso(START_US)), ("end", "x"), ("foo", "1")]
    assert named(ShipParameters, *arguments) == ["end", "foo", "spaceship_id", "start"]


def test_an_end_before_the_start_is_named_beside_what_else_is_wrong() -> None:
    """The same, for what two parameters have to do with each other."""
    arguments = [("spaceship_id", "x"), ("start", "2018-08-24T01:00:00Z"), ("end", "2018-08-24T00:00:00Z")]
    assert named(ShipParameters, *arguments) == ["end", "spaceship_id"]


@given(
    st.lists(st.tuples(st.one_of(st.text(), st.sampled_from(["spaceship_id", "start", "end", "count"])), st.text())),
    st.sampled_from(MODELS),
)
def test_any_arguments_are_parameters_or_invalid(
    arguments: list[tuple[str, str]], model: type[WindowParameters]
) -> None:
    """Nothing but `InvalidInput` comes out, and it always names a parameter."""
    problems = None
    try:
        parse(model, MultiDict(arguments))
    except InvalidInput as error:
        problems = error.problems
    assert problems is None or problems


def test_a_window_of_one_microsecond_is_its_slot() -> None:
    """Only an empty one is empty."""
    asked = window(start="2018-08-24T00:00:00Z", end="2018-08-24T00:00:00.000001Z")
    assert asked == Window(START_US // 1_000_000, START_US // 1_000_000 + 900)
