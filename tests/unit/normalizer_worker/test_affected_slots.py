"""Which slots new readings change: what is given turns the slots that were into the slots that are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer_worker.rule.affected_slots import changes as differences
from normalizer_worker.rule.affected_slots import merge, slots_within
from normalizer_worker.rule.normalize import latest, normalize
from shared.domain.readings import Kind, Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, END_S, SLOT_US, ShipWindows, Slots
from shared.domain.timestamps import moment_us
from tests.support.columns import as_columns
from tests.support.reference import Reading
from tests.support.strategies import readings

Rows = dict[tuple[int, int], tuple[float, float, bool, float]]


def rows_of(slots: Slots) -> Rows:
    """Give slots under their ship and start; none may come twice."""
    rows = {row[:2]: row[2:] for row in slots.rows()}
    assert len(rows) == len(slots), "a slot comes twice"
    return rows


def changes(known: list[Reading], new: list[Reading], max_gap_us: int = DEFAULT_MAX_GAP_US) -> Rows:
    """Give the slots to store, having seen that with them the slots are those of all the readings."""
    ships = {each.ship for each in new}  # of others nothing is ever asked
    was, came = (
        latest(as_columns([each for each in known if each.ship in ships])),
        latest(as_columns(new)),
    )
    merged, *_ = merge(was, came)
    everything = ShipWindows.from_rows([(ship, 0, END_S) for ship in sorted(ships)])
    slots, stored = differences(*(slots_within(each, max_gap_us, everything) for each in (was, merged)))
    changed = rows_of(slots)
    before = rows_of(normalize(was, max_gap_us))
    assert rows_of(stored) == {key: before.get(key, (0.0, 0.0, False, 0.0)) for key in changed}
    found = {key: row for key, row in {**before, **changed}.items() if row[1]}
    assert found == rows_of(normalize(Readings.concat([was, came]), max_gap_us))
    return changed


def power(moment: str, value: float = 6.0, sent_at_us: int = 1, kind: Kind = Kind.POWER_KW) -> Reading:
    """Make a reading of ship 1."""
    return Reading(1, moment_us(moment), value, kind, sent_at_us)


@given(
    st.lists(readings, max_size=20),
    st.lists(readings, min_size=1, max_size=5),
    st.sampled_from([SLOT_US, 3_600_000_000, DEFAULT_MAX_GAP_US]),
)
def test_returned_changes_turn_the_old_slots_into_the_new_ones(
    known: list[Reading], new: list[Reading], max_gap_us: int
) -> None:
    """To the last bit, and every slot once."""
    changes(known, new, max_gap_us)


def test_readings_that_are_known_change_no_slot() -> None:
    known = [
        power("2018-08-24T00:00Z"),
        power("2018-08-24T00:10Z"),
        power("2018-08-24T01:00Z"),
    ]
    assert changes(known, known[1:2]) == {}


@pytest.mark.parametrize("known_too", [True, False], ids=["between others", "alone"])
def test_a_correction_of_the_unit_alone_changes_its_slots(known_too: bool) -> None:  # noqa: FBT001  # what the ids say
    """5 kW and 5 kWh are not the same, though the value is."""
    others = [power("2018-08-24T00:00Z"), power("2018-08-24T01:00Z")] if known_too else []
    wrong = power("2018-08-24T00:20Z", 5.0)
    assert changes([*others, wrong], [power("2018-08-24T00:20Z", 5.0, 2, Kind.ENERGY_KWH)])


def test_a_shortened_interval_is_removed_from_a_slot_shared_with_another_reading() -> None:
    """The reading before a silence spoke for a day, into the slot where the silence ends; now for a minute."""
    known = [power(f"2018-08-{day}Z") for day in ("24T00:01", "25T00:01", "26T00:02")]
    start_s = moment_us("2018-08-26T00:00Z") // 1_000_000
    _, covered_s, provisional, _ = changes(known, [power("2018-08-25T00:00Z")])[1, start_s]
    assert (covered_s, provisional) == (780, True)


@pytest.mark.parametrize("moment", ["1970-01-01T00:00:00Z", "2199-12-30T00:00:00Z"])
def test_uncovered_slots_are_removed_at_the_first_and_last_timestamps(moment: str) -> None:
    """A guess of an hour becomes one of ten minutes."""
    start_us = moment_us(moment)
    known = [
        Reading(2**53 - 1, start_us, 6.0, False, 1),
        Reading(2**53 - 1, start_us + 3_600_000_000, 6.0, False, 1),
    ]
    changed = changes(known, [Reading(2**53 - 1, start_us + 3_000_000_000, 6.0, False, 1)])
    assert [row[1] for row in changed.values()].count(0) == 3
