"""How far new readings reach: enough is read to compute every slot that changes, and little more."""

from bisect import bisect_left
from collections.abc import Container

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer_worker.rule.affected_slots import merge, slots_within
from normalizer_worker.rule.normalize import latest
from normalizer_worker.rule.reach import BESIDE, Neighbourhood, Span, read_neighbourhoods, spans, windows
from shared.domain.readings import LOOKS_BACK, Kind, ReadingRanges, Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, END_S, SLOT_US, ShipWindows, Slots
from tests.support.columns import as_columns
from tests.support.reference import Reading
from tests.support.strategies import START_US, readings

MINUTE_US = 60_000_000
max_gaps_us = st.sampled_from([SLOT_US, 3_600_000_000, DEFAULT_MAX_GAP_US])


class Stored:
    """Readings, and a count of how often and how many of them are read."""

    def __init__(self, rows: list[Reading], read_ahead: int = 0) -> None:
        self.rows = list(latest(as_columns(rows)).rows())
        self.read_ahead = read_ahead
        self.reads = self.given = 0

    def read(self, ranges: ReadingRanges) -> Readings:
        self.reads += 1
        found = []
        for ship, start_us, end_us, before, after in ranges.rows():
            own = [row for row in self.rows if row[0] == ship]
            first, end = (bisect_left(own, edge, key=lambda row: row[1]) for edge in (start_us, end_us))
            n_before, n_after = (wanted and max(wanted, self.read_ahead) for wanted in (before, after))
            found += own[max(first - n_before, 0) : end + n_after]
        self.given += len(found)
        return as_columns(found)


def around(stored: Stored, first_us: int, last_us: int) -> Neighbourhood:
    """Read the neighbourhood of ship 1's readings in a span."""
    return read_neighbourhoods([Span(1, first_us, last_us)], stored.read)[1]


def every(step_us: int, count: int) -> list[Reading]:
    return [Reading(1, START_US + step_us * i, 6.0, Kind.POWER_KW, 0) for i in range(count)]


def everywhere(ships: np.ndarray) -> ShipWindows:
    return ShipWindows.from_rows([(ship, 0, END_S) for ship in ships.tolist()])


def keyed(slots: Slots) -> dict[tuple[int, int], tuple[float, float, bool, float]]:
    return {row[:2]: row[2:] for row in slots.rows()}


@given(
    st.lists(readings, max_size=30),
    st.lists(readings, min_size=1, max_size=5),
    st.sampled_from([0, 4, 12]),
    max_gaps_us,
)
def test_what_is_read_decides_on_every_slot_that_changes(
    known: list[Reading], new: list[Reading], read_ahead: int, max_gap_us: int
) -> None:
    """In the windows the slots are those of all readings together, to the last bit; outside nothing changes."""
    stored, came = Stored(known, read_ahead), latest(as_columns(new))
    near = read_neighbourhoods(spans(came), stored.read)
    of_ships = windows(near)
    merged, *_ = merge(Readings.concat([each.readings for each in near.values()]), came)
    mine = keyed(slots_within(merged, max_gap_us, of_ships))

    of_these = as_columns([row for row in stored.rows if row[0] in near])
    all_of_them = everywhere(came.ship[np.append([True], np.diff(came.ship) != 0)])
    with_new = merge(of_these, came)[0]
    before, after = (keyed(slots_within(each, max_gap_us, all_of_them)) for each in (of_these, with_new))
    inside = {key for key in {**before, **after} if _is_in(of_ships, *key)}
    assert mine == {key: after[key] for key in inside if key in after}
    assert {key: before[key] for key in before if key not in inside} == {
        key: after[key] for key in after if key not in inside
    }


def test_what_a_lone_mean_reaches_back_to_changes_in_the_slot_of_the_reading_before_it() -> None:
    """It looked back 15 minutes, and looks back two hours once another follows after two: into the other's slot."""
    two_hours_us = 120 * MINUTE_US
    earlier = [START_US + minute * MINUTE_US for minute in (*range(-150, 0, 15), 1)]
    mean = Reading(1, earlier[-1] + two_hours_us + MINUTE_US, 6.0, Kind.MEAN_KW, 0)
    known = [*(Reading(1, moment, 6.0, Kind.POWER_KW, 0) for moment in earlier), mean]
    new = as_columns([mean._replace(moment_us=mean.moment_us + two_hours_us)])
    near = read_neighbourhoods(spans(new), Stored(known).read)
    merged, *_ = merge(near[1].readings, new)
    found = keyed(slots_within(merged, two_hours_us, windows(near)))
    assert found[1, START_US // 1_000_000][1] == 14 * 60


def _is_in(wanted: ShipWindows, ship: int, start_s: int) -> bool:
    return any(each == ship and first <= start_s < end for each, first, end in wanted.rows())


@given(st.lists(readings, max_size=30), st.tuples(readings, readings), st.sampled_from([0, 4, 12]))
def test_the_needed_readings_are_read_and_both_ends_are_known(
    rows: list[Reading], edges: tuple[Reading, Reading], read_ahead: int
) -> None:
    stored = Stored(rows, read_ahead)
    first_us, last_us = sorted(each.moment_us for each in edges)
    found = around(stored, first_us, last_us)
    moments = sorted({each.moment_us for each in rows if each.ship == 1})
    looks_back = {row[1] for row in stored.rows if row[0] == 1 and LOOKS_BACK[row[3]]}
    assert_needed(found, moments, first_us, last_us, looks_back)
    assert stored.reads <= 3


@pytest.mark.parametrize("read_ahead", [0, 8])
@pytest.mark.parametrize("step_us", [MINUTE_US, 7 * MINUTE_US, 15 * MINUTE_US, 20 * MINUTE_US, 100 * MINUTE_US])
def test_the_needed_readings_are_read_everywhere_in_a_stream(step_us: int, read_ahead: int) -> None:
    """At its start, at its end, in between, on readings and beside them, for one timestamp and for many."""
    stored = Stored(every(step_us, 60), read_ahead)
    moments = [row[1] for row in stored.rows]
    for first_us in [moment + beside for moment in moments for beside in (-1, 0, 1, step_us // 2)]:
        for length_us in (0, step_us, 4 * step_us):
            assert_needed(around(stored, first_us, first_us + length_us), moments, first_us, first_us + length_us)


def assert_needed(
    found: Neighbourhood, moments: list[int], first_us: int, last_us: int, looks_back: Container[int] = ()
) -> None:
    got = found.readings.moment_us.tolist()
    assert got == [each for each in moments if got and got[0] <= each <= got[-1]], "a gap, or out of order"
    assert not found.from_oldest or got[:1] == moments[:1]
    assert not found.to_newest or got[-1:] == moments[-1:]
    assert found.to_newest or moments[-1] > last_us, "the end of a stream must be known as such"
    assert set(needed(moments, first_us, last_us, looks_back)) <= set(got)


def needed(moments: list[int], first_us: int, last_us: int, looks_back: Container[int]) -> list[int]:
    """Say in other words which readings affect the slots that new ones in a span can change."""
    before = [each for each in moments if each < first_us]
    if before and before[-1] in looks_back:
        before.pop()
    start_us = (before[-1] if before else first_us) // SLOT_US * SLOT_US
    after_slots = sorted({each // SLOT_US for each in moments if each > last_us})
    wanted = [each for each in moments if start_us <= each <= last_us]
    wanted += [each for each in moments if each > last_us and each // SLOT_US in after_slots[:2]]
    wanted += [each for each in moments if each < start_us][-BESIDE:]
    if len(after_slots) > 2:
        wanted += [each for each in moments if each // SLOT_US >= after_slots[2]][:BESIDE]
    return wanted


@pytest.mark.parametrize("step_us", [5 * MINUTE_US, 15 * MINUTE_US, 100 * MINUTE_US])
def test_one_read_is_enough_for_slots_of_few_readings(step_us: int) -> None:
    """If the store reads a little ahead; one reading late, one at the end."""
    stored = Stored(every(step_us, 50), read_ahead=8)
    for first_us in (START_US + 20 * step_us + 1, START_US + 50 * step_us):
        stored.reads = 0
        around(stored, first_us, first_us)
        assert stored.reads == 1


@pytest.mark.parametrize("read_ahead", [0, 8, 100])
def test_what_is_kept_does_not_depend_on_what_is_read_ahead(read_ahead: int) -> None:
    """More would cost time in every step that follows."""
    found = around(Stored(every(5 * MINUTE_US, 50), read_ahead), START_US + 101 * MINUTE_US, START_US + 101 * MINUTE_US)
    minutes = (found.readings.moment_us - START_US) // MINUTE_US
    assert minutes.tolist() == list(range(80, 141, 5))  # 90 to 105, two before, 105 to 135, two after
    assert (found.from_oldest, found.to_newest) == (False, False)


def test_many_ships_are_read_together() -> None:
    rows = [Reading(ship, START_US + MINUTE_US * i, 6.0, Kind.POWER_KW, 0) for ship in (1, 2, 5) for i in range(60)]
    stored = Stored(rows)
    wanted = [
        Span(ship, START_US + at * MINUTE_US, START_US + at * MINUTE_US) for ship, at in ((1, 59), (2, 20), (3, 5))
    ]
    found = read_neighbourhoods(wanted, stored.read)
    assert list(found) == [1, 2, 3]
    assert [set(each.readings.ship.tolist()) for each in found.values()] == [{1}, {2}, set()]
    assert stored.reads <= 3
