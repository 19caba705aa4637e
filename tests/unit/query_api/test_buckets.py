"""Hours, days and months by local time, against a slow reference that asks zoneinfo for every slot."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.answers.calendar import Buckets, Coarse
from query_api.answers.columns import Heading, Table, table_of
from query_api.answers.formats import FORMATS
from query_api.answers.rollup import roll_up
from shared.domain.columns import I64
from shared.domain.slots import Slots, Window
from shared.domain.timestamps import moment_us
from shared.store.port import FleetSlots

SLOT_S = 900
DAY_SLOTS = 96
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # puts its clocks back over midnight
    "America/St_Johns",  # does so at one minute past, before 2011
    "America/Havana",  # begins a day at one o'clock
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # has half an hour of summer time
    "Pacific/Apia",  # skipped a day
    "Africa/Monrovia",  # was 44:30 behind, until 1972
]
COARSE: list[Coarse] = ["1h", "1d", "1mo"]
# Around changes of clocks, of zones, and elsewhere.
moments_s = st.one_of(
    st.integers(0, 7_200_000_000),
    st.sampled_from([1_774_746_000, 1_792_890_000, 1_325_239_200, 1_004_236_260, 63_593_070, 1_143_903_600]).flatmap(
        lambda at: st.integers(at - 3 * 86_400, at + 3 * 86_400)
    ),
).map(lambda at: at // SLOT_S * SLOT_S)


def ship_slots(start_s: int, kwh: Sequence[float | None]) -> Slots:
    """Build consecutive slots; None leaves a gap."""
    at = np.array([i for i, each in enumerate(kwh) if each is not None], np.int64)
    values = np.array([each for each in kwh if each is not None], np.float64)
    n = len(at)
    return Slots(np.ones(n, np.int64), start_s + SLOT_S * at, values, np.full(n, 450.5), values > 500, np.zeros(n))


def summed(parts: list[Table], coarse: Coarse, zone: str, window: Window | None = None) -> list[dict[str, object]]:
    """Give the rows, each with where it begins, as seconds since 1970 and as JSON writes it in local time."""
    found = list(roll_up(parts, Buckets(coarse, ZoneInfo(zone)), window or Window()))
    names = tuple(name for name in found[0] if name != "start_s") if found else ()
    written = json.loads(b"".join(FORMATS[0].write(found, Heading({}, names, zone))))["data"]
    rows: list[dict[str, object]] = [
        dict(zip(table, row, strict=True))
        for table in found
        for row in zip(*(column.tolist() for column in table.values()), strict=True)
    ]
    for row, texts in zip(rows, written, strict=True):
        row["local"] = texts["datetime"][:19].replace("T", " ")
    return rows


def key(start_s: int, coarse: Coarse, zone: ZoneInfo) -> tuple[object, ...]:
    """Name the bucket of a slot."""
    local = datetime.fromtimestamp(start_s, zone)
    if coarse == "1h":
        return local.date(), local.hour, local.utcoffset()
    day = local.date()
    for back in range(1, 97):  # a clock that is put back over midnight does not bring yesterday back
        day = max(day, datetime.fromtimestamp(max(start_s - back * SLOT_S, 0), zone).date())
    return (day,) if coarse == "1d" else (day.year, day.month)


def begin_s(start_s: int, coarse: Coarse, zone: ZoneInfo) -> int:
    """Go back, slot by slot, to where its bucket begins."""
    mine = key(start_s, coarse, zone)
    while start_s >= SLOT_S and key(start_s - SLOT_S, coarse, zone) == mine:
        start_s -= SLOT_S
    return start_s


@given(
    moments_s,
    st.lists(st.one_of(st.none(), st.floats(0, 1e6)), min_size=1, max_size=200),
    st.sampled_from(ZONES),
    st.sampled_from(["1h", "1d"]),
    st.lists(st.integers(0, 200), max_size=3),
)
def test_buckets_are_those_of_the_clocks_on_the_wall(
    start_s: int, kwh: list[float | None], zone: str, coarse: Coarse, cuts: list[int]
) -> None:
    """Each slot is in the bucket of its start, whose sums are exact, however the slots come in parts."""
    slots = ship_slots(start_s, kwh)
    edges = sorted({0, len(slots), *(min(cut, len(slots)) for cut in cuts)})
    parts = [table_of(slots[low:high]) for low, high in pairwise(edges)]
    found = summed(parts, coarse, zone)
    expected: dict[tuple[object, ...], list[int]] = {}
    for i, at_s in enumerate(slots.start_s.tolist()):
        expected.setdefault(key(at_s, coarse, ZoneInfo(zone)), []).append(i)
    assert len(found) == len(expected)
    for row, rows in zip(found, expected.values(), strict=True):
        assert row["start_s"] == begin_s(int(slots.start_s[rows[0]]), coarse, ZoneInfo(zone))
        exact = float(sum(Fraction(float(slots.kwh[i])) for i in rows))
        assert row["value"] == pytest.approx(exact, rel=1e-12, abs=1e-11 * len(rows))
        assert row["covered_seconds"] == 450.5 * len(rows)
        assert row["provisional"] == any(slots.provisional[i] for i in rows)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/St_Johns", "Pacific/Apia"])
def test_months_begin_with_their_first_slot(zone: str) -> None:
    """Over the turn of a year, with the whole month in what it is over."""
    start_s = moment_us("2011-10-20T00:00:00Z") // 10**6
    found = summed([table_of(ship_slots(start_s, [1.0] * DAY_SLOTS * 90))], "1mo", zone)
    assert [str(row["local"])[:7] for row in found] == ["2011-10", "2011-11", "2011-12", "2012-01"]
    for row in found:
        assert row["start_s"] == begin_s(int(str(row["start_s"])), "1mo", ZoneInfo(zone))
    assert sum(float(str(row["value"])) for row in found) == DAY_SLOTS * 90


@pytest.mark.parametrize(
    ("zone", "around", "coarse", "expected"),
    [
        ("Europe/Berlin", "2026-03-28T12:00Z", "1d", [("2026-03-29 00:00:00", 23 * 3600)]),
        ("Europe/Berlin", "2026-10-24T12:00Z", "1d", [("2026-10-25 00:00:00", 25 * 3600)]),
        (
            "Europe/Berlin",
            "2026-10-25T00:00Z",
            "1h",
            [("2026-10-25 02:00:00", 3600), ("2026-10-25 02:00:00", 3600), ("2026-10-25 03:00:00", 3600)],
        ),
        ("Europe/Berlin", "2026-03-29T00:00Z", "1h", [("2026-03-29 01:00:00", 3600), ("2026-03-29 03:00:00", 3600)]),
        ("Asia/Kathmandu", "2026-03-28T12:00Z", "1d", [("2026-03-29 00:00:00", 86_400)]),
        ("Australia/Lord_Howe", "2026-04-04T02:00Z", "1d", [("2026-04-05 00:00:00", 24 * 3600 + 1800)]),
        ("Australia/Lord_Howe", "2026-10-03T02:00Z", "1d", [("2026-10-04 00:00:00", 24 * 3600 - 1800)]),
        (
            "Australia/Lord_Howe",
            "2026-04-04T14:00Z",
            "1h",
            [("2026-04-05 01:00:00", 3600), ("2026-04-05 01:30:00", 1800), ("2026-04-05 02:00:00", 3600)],
        ),
        ("America/St_Johns", "2001-10-27T12:00Z", "1d", [("2001-10-28 00:00:00", 25 * 3600)]),
        ("America/Havana", "2026-03-07T12:00Z", "1d", [("2026-03-08 01:00:00", 23 * 3600)]),
        ("Pacific/Apia", "2011-12-28T12:00Z", "1d", [("2011-12-29 00:00:00", 86_400), ("2011-12-31 00:00:00", 86_400)]),
        ("Africa/Monrovia", "1971-05-01T00:00Z", "1d", [("1971-05-01 00:00:30", 86_400)]),
    ],
)
def test_days_and_hours_of_changed_clocks(
    zone: str, around: str, coarse: Coarse, expected: list[tuple[str, int]]
) -> None:
    """Days of 23, 24.5 and 25 hours, an hour that comes twice, half of one, and days that begin late or never."""
    slots = ship_slots(moment_us(around) // 10**6, [1.0] * (3 * DAY_SLOTS))
    found = [(row["local"], row["seconds"], row["value"]) for row in summed([table_of(slots)], coarse, zone)]
    assert [(local, seconds, seconds // SLOT_S) for local, seconds in expected] in list(_runs(found, len(expected)))


def _runs(rows: Sequence[tuple[object, ...]], n: int) -> Iterator[Sequence[tuple[object, ...]]]:
    return (rows[i : i + n] for i in range(len(rows)))


def test_a_bucket_that_the_window_cuts_says_how_much_of_it_lies_inside() -> None:
    start_s = moment_us("2026-03-29T10:00:00Z") // 10**6
    table = table_of(ship_slots(start_s, [1.0] * DAY_SLOTS))
    rows = summed([table], "1d", "UTC", Window(start_s, start_s + 86_400))
    assert [(row["local"], row["seconds"]) for row in rows] == [
        ("2026-03-29 00:00:00", 14 * 3600),
        ("2026-03-30 00:00:00", 10 * 3600),
    ]
    assert [row["seconds"] for row in summed([table], "1d", "UTC")] == [86_400, 86_400]


def test_a_fleets_bucket_has_the_most_ships_of_any_slot_and_the_fewest_whole_ones() -> None:
    """Its average is the sum of the slots' averages; a slot that nobody has leaves no ship whole."""

    def row(start: int, *at: int) -> dict[str, object]:
        n = len(at)
        slots = FleetSlots(
            start + SLOT_S * np.array(at, np.int64),
            np.arange(1.0, n + 1) * 6,
            np.full(n, 1800.0),
            np.array([False] * (n - 1) + [True]),
            np.zeros(n),
            np.array([2, 3, 2, 1][:n], np.int64),
            np.array([2, 2, 1, 1][:n], np.int64),
        )
        (found,) = summed([table_of(slots)], "1h", "UTC")
        return {name: each for name, each in found.items() if name not in ("start_s", "local")}

    whole = {"sum": 60.0, "avg": 3 + 4 + 9 + 24.0, "covered_seconds": 7200.0, "estimated_seconds": 0.0}
    whole |= {"provisional": True, "seconds": 3600}
    assert row(0, 0, 1, 2, 3) == {**whole, "ships": 3, "whole_ships": 1}
    assert row(0, 0, 1, 3)["whole_ships"] == 0


@pytest.mark.parametrize("coarse", COARSE)
def test_what_lies_between_slots_far_apart_costs_nothing(coarse: Coarse) -> None:
    """A ship whose clock once stood at 1970: never are 56 years of slots laid out at a time."""
    asked: list[int] = []

    class Counting(Buckets):
        def edges_s(self, first_s: int, last_s: int) -> I64:
            asked.append(last_s - first_s)
            return super().edges_s(first_s, last_s)

    start_s = moment_us("2026-03-01T00:00:00Z") // 10**6
    parts = [table_of(ship_slots(0, [1.0])), table_of(ship_slots(start_s, [1.0] * DAY_SLOTS * 40))]
    found = list(roll_up(parts, Counting(coarse, ZoneInfo("Europe/Berlin")), Window()))
    assert sum(float(table["value"].sum()) for table in found) == 1 + DAY_SLOTS * 40
    assert max(asked) < 41 * 86_400


@pytest.mark.parametrize("coarse", COARSE)
def test_no_slots_are_no_buckets(coarse: Coarse) -> None:
    assert summed([], coarse, "Europe/Berlin") == []


@pytest.mark.parametrize(
    ("zone", "at", "written"),
    [
        ("Europe/Berlin", "2026-07-25T00:45:00Z", "+02:00"),
        ("America/St_Johns", "2026-01-25T00:45:00Z", "-03:30"),
        ("Etc/UTC", "2026-10-25T00:45:00Z", "+00:00"),
        ("Africa/Monrovia", "1971-10-25T00:45:00Z", "-00:44:30"),
    ],
)
def test_local_time_is_written_with_its_offset(zone: str, at: str, written: str) -> None:
    """Also one with seconds, as Liberia had it."""
    table = table_of(ship_slots(moment_us(at) // 10**6, [1.0, 2.5]))
    text = b"".join(FORMATS[0].write([table], Heading({}, ("value",), zone))).decode()
    assert text.count(f'{written}",') == 2
    assert datetime.fromisoformat(text.split('"')[5]).timestamp() == table["start_s"][0]
