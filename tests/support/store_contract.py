"""What every store must do, as one class of tests that each adapter's own class inherits."""

from collections.abc import Callable
from fractions import Fraction
from itertools import combinations, pairwise, product
from math import isclose, nan
from typing import Protocol
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normalizer_worker.recorder import Recorder
from normalizer_worker.rule.affected_slots import merge
from normalizer_worker.rule.normalize import latest
from shared.domain.deletions import DeletionRow, Deletions, joined
from shared.domain.readings import PLAIN, Kind, ReadingRanges, Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, END_S, SLOT_US, ShipWindows, Slots, Window
from shared.store.port import EnergyReader, FleetSlots, ReadingStore
from tests.support import reference
from tests.support.columns import as_columns
from tests.support.comparing import assert_same
from tests.support.reference import Deletion, Reading, Slot
from tests.support.strategies import START_US, deletions, histories, readings

START_S = START_US // 1_000_000
DAY_S = 86_400
A_DAY = DAY_S // 900
MINUTE_US = 60_000_000
EVER_US = 7_258_118_400_000_000
RELATIVE = 1e-9


class Store(ReadingStore, EnergyReader, Protocol):
    """Both halves of the port."""

    def close(self) -> None:
        """Close it."""


MakeStore = Callable[[], Store]
many_histories = settings(
    max_examples=60,
    # Each example makes a store of its own, and each adapter inherits the same tests.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


def slots_of(*rows: tuple[int, int, float, float, bool]) -> Slots:
    """Build slots from rows of (ship, slots after the start, kWh, covered seconds, provisional).

    Provisional ones are estimated.
    """
    return Slots.from_rows(
        (ship, START_S + 900 * at, kwh, covered_s, provisional, covered_s * provisional)
        for ship, at, kwh, covered_s, provisional in rows
    )


def all_slots(store: Store, ships: tuple[int, ...] = (1, 2, 3)) -> Slots:
    """Read everything back."""
    return Slots.concat([store.slots(ship, Window()) for ship in ships])


def put(store: Store, rows: Slots | Readings) -> None:
    """Put slots or readings in a transaction of their own."""
    with store.transaction():
        if isinstance(rows, Slots):
            store.put_slots(rows, was(store, rows))
        else:
            store.put_readings(rows)


def was(store: Store, slots: Slots) -> Slots:
    """Give what is stored of some slots, row by row."""
    stored = store.stored_slots(ShipWindows.from_rows([(ship, 0, END_S) for ship in np.unique(slots.ship).tolist()]))
    rows = dict(zip(zip(stored.ship.tolist(), stored.start_s.tolist(), strict=True), range(len(stored)), strict=True))
    at = [rows.get(key) for key in zip(slots.ship.tolist(), slots.start_s.tolist(), strict=True)]
    nothing = Slots.from_rows([(0, 0, 0.0, 0.0, False, 0.0)])
    found = Slots.concat([stored, nothing])[np.array([len(stored) if each is None else each for each in at])]
    return Slots(slots.ship, slots.start_s, found.kwh, found.covered_s, found.provisional, found.estimated_s)


class StoreContract:
    """Inherited by one class per adapter, which gives the fixture `make_store`: a new, empty store with each call."""

    # --- the rule through the store

    @many_histories
    @given(histories(), st.sampled_from([0, 40, 10**6]), st.sampled_from([SLOT_US, 7_200_000_000, DEFAULT_MAX_GAP_US]))
    def test_any_batches_in_any_order_give_the_reference(
        self, make_store: MakeStore, batches: list[list[Reading]], cached_readings: int, max_gap_us: int
    ) -> None:
        """Permuted, repeated, corrected, cut into batches: the slots depend on the set of readings alone."""
        store = make_store()
        recorder = Recorder(store, max_gap_us, cached_readings)
        for batch in batches:
            recorder.record(as_columns(batch))
        rows = [each for batch in batches for each in batch]
        expected = reference.slots(rows, max_gap_us)
        assert_same(all_slots(store), expected)
        assert_roll_ups(store, expected)
        store.close()

    @many_histories
    @given(
        histories(),
        st.lists(st.tuples(deletions, st.sets(st.integers(0, 9), min_size=1)), min_size=1, max_size=4),
        st.sampled_from([0, 40, 10**6]),
        st.sampled_from([1, 3, 10_000]),
    )
    def test_deletions_between_any_batches_give_the_reference(
        self,
        make_store: MakeStore,
        batches: list[list[Reading]],
        deleted: list[tuple[Deletion, set[int]]],
        cached_readings: int,
        max_deleted: int,
    ) -> None:
        """Before, after, between, perhaps again; in one transaction or in many, with batches between these."""
        store = make_store()
        recorder = Recorder(store, DEFAULT_MAX_GAP_US, cached_readings)
        with mock.patch("normalizer_worker.recorder.MAX_DELETED", max_deleted):
            under_way: list[DeletionRow] = []
            for i, batch in enumerate([[], *batches]):
                if batch:
                    recorder.record(as_columns(batch))
                under_way += [each for each, when in deleted if i in {at % (len(batches) + 1) for at in when}]
                under_way = [left for each in under_way if (left := recorder.delete_part(each, 10_000))]
            while under_way:
                under_way = [left for each in under_way if (left := recorder.delete_part(each, 10_000))]
        rows = [each for batch in batches for each in batch]
        expected = reference.slots(rows, DEFAULT_MAX_GAP_US, [each for each, _ in deleted])
        assert_same(all_slots(store), expected)
        assert_roll_ups(store, expected)
        counted = reference.counting(rows, [each for each, _ in deleted])
        kept = [(row[0], row[1]) for ship in (1, 2, 3) for row in store.readings(ship, 0, EVER_US, 99).rows()]
        assert kept == sorted(counted)
        store.close()

    # --- readings

    @many_histories
    @given(
        st.lists(readings, max_size=30),
        st.lists(st.tuples(readings, readings), min_size=3, max_size=3),
        st.integers(0, 4),
        st.integers(0, 4),
    )
    def test_readings_around_ranges_are_the_nearest_without_a_gap(
        self,
        make_store: MakeStore,
        stored: list[Reading],
        bounds: list[tuple[Reading, Reading]],
        before: int,
        after: int,
    ) -> None:
        store = make_store()
        put(store, as_columns(stored))
        edges = [sorted(each.moment_us for each in pair) for pair in bounds]
        rows = [
            (ship, start_us, end_us, before, after) for ship, (start_us, end_us) in zip((1, 3, 4), edges, strict=True)
        ]
        found = store.readings_around(ReadingRanges.from_rows(rows))
        got = list(zip(found.ship.tolist(), found.moment_us.tolist(), strict=True))
        assert got == sorted(got)
        for ship, start_us, end_us, _, _ in rows:
            moments = sorted({each.moment_us for each in stored if each.ship == ship})
            mine = [moment_us for each, moment_us in got if each == ship]
            assert_around(mine, moments, (start_us, end_us), (before, after))
        store.close()

    @pytest.mark.parametrize("step_us", [MINUTE_US, 7 * MINUTE_US, 20 * MINUTE_US, DAY_S * 10**6, 100 * DAY_S * 10**6])
    @pytest.mark.parametrize("n", [3, 12, 30])
    def test_the_nearest_readings_are_found_however_far_they_are(
        self, make_store: MakeStore, step_us: int, n: int
    ) -> None:
        """Also many of them, on one side only, and in an empty range."""
        store = make_store()
        moments = [START_US + step_us * i for i in range(2 * n)]
        put(store, as_columns([(1, moment, 1.0, Kind.POWER_KW, 0) for moment in moments]))
        for edges in [(moments[n],) * 2, (moments[n] + 1,) * 2, (moments[n], moments[n + 2]), (0, 1), (EVER_US,) * 2]:
            for wanted in [(n, n), (n, 0), (0, n), (2 * n + 1, 2 * n + 1)]:
                found = store.readings_around(ReadingRanges.from_rows([(1, *edges, *wanted)]))
                assert_around(found.moment_us.tolist(), moments, edges, wanted)
        store.close()

    def test_readings_around_no_range_are_none(self, make_store: MakeStore) -> None:
        store = make_store()
        put(store, as_columns([(1, START_US, 1.0, Kind.POWER_KW, 0)]))
        assert len(store.readings_around(ReadingRanges.from_rows([]))) == 0
        assert len(store.readings_around(ReadingRanges.from_rows([(2, 0, EVER_US, 3, 3)]))) == 0
        store.close()

    @pytest.mark.parametrize(
        ("first", "then", "kept"),
        [
            ((5.0, Kind.POWER_KW, 2), (7.0, Kind.POWER_KW, 3), 7.0),
            ((5.0, Kind.POWER_KW, 3), (7.0, Kind.POWER_KW, 2), 5.0),
            ((5.0, Kind.POWER_KW, 2), (7.0, Kind.POWER_KW, 2), 7.0),
            ((7.0, Kind.POWER_KW, 2), (5.0, Kind.POWER_KW, 2), 7.0),
            ((7.0, Kind.POWER_KW, 2), (5.0, Kind.ENERGY_KWH, 2), 5.0),
            ((5.0, Kind.ENERGY_KWH, 2), (7.0, Kind.POWER_KW, 2), 5.0),
        ],
        ids=["later", "older", "tie, greater", "tie, less", "tie, kWh", "tie, kW"],
    )
    def test_the_reading_sent_last_stays(
        self,
        make_store: MakeStore,
        first: tuple[float, Kind, int],
        then: tuple[float, Kind, int],
        kept: float,
    ) -> None:
        store = make_store()
        for value, kind, sent_at_us in (first, then):
            Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns([(1, START_US, value, kind, sent_at_us)]))
        assert store.readings(1, 0, EVER_US, 9).value.tolist() == [kept]
        store.close()

    def test_what_is_put_takes_the_place_of_what_was(self, make_store: MakeStore) -> None:
        store = make_store()
        for value in (5.0, 7.0, 6.0):
            kind = Kind.ENERGY_KWH if value == 7.0 else Kind.POWER_KW
            put(store, as_columns([(1, START_US, value, kind, 9 - int(value))]))
        assert list(store.readings(1, 0, EVER_US, 9).rows()) == [(1, START_US, 6.0, Kind.POWER_KW, 3, 0, 0, 0.0)]
        store.close()

    @many_histories
    @given(st.lists(readings, max_size=10), st.lists(readings, max_size=10))
    def test_readings_of_every_kind_come_back_as_they_were_put(
        self, make_store: MakeStore, first: list[Reading], then: list[Reading]
    ) -> None:
        """Also those that replace others, which state something else."""
        store = make_store()
        known = latest(as_columns(first))
        merged, is_new, replaced = merge(known, latest(as_columns(then)))
        with store.transaction():
            store.put_readings(known)
        with store.transaction():
            store.put_readings(merged[is_new], replaced)
        found = Readings.concat([store.readings(ship, 0, EVER_US, 99) for ship in (1, 2, 3)])
        for mine, theirs in zip(found.columns(), merged.columns(), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        store.close()

    def test_a_reading_of_any_kind_takes_the_place_of_one_of_any_other(self, make_store: MakeStore) -> None:
        """One after the other: nothing of those before stays."""
        store = make_store()
        for i, kinds in enumerate(product(Kind, Kind, PLAIN, PLAIN)):
            before = None
            for kind in kinds:
                reading = as_columns([(1, START_US + i, nan if kind == Kind.UNKNOWN else 5.0, kind, 0)])
                with store.transaction():
                    store.put_readings(reading, before)
                (found,) = store.readings(1, START_US + i, START_US + i + 1, 9).rows()
                assert found[3] == kind, kinds
                before = reading
        store.close()

    def test_what_a_reading_states_takes_the_place_of_what_another_one_stated(self, make_store: MakeStore) -> None:
        """One after the other, also nothing after something and the reverse: nothing of those before stays."""
        store = make_store()
        some = (0, 0, 0.0), (60_000_000, 0, 0.0), (0, 7_200_000_000, 0.0), (0, 0, 1e5), (90_000_000, 3_600_000_000, 1e6)
        for i, sequence in enumerate(product(some, some, some)):
            before = None
            for stated in sequence:
                reading = as_columns([(1, START_US + i, 5.0, Kind.POWER_KW, 0, *stated)])
                with store.transaction():
                    store.put_readings(reading, before)
                (found,) = store.readings(1, START_US + i, START_US + i + 1, 9).rows()
                assert found[5:] == stated, sequence
                before = reading
        store.close()

    def test_removed_readings_are_gone(self, make_store: MakeStore) -> None:
        store = make_store()
        put(store, as_columns([(ship, START_US + i, 1.0, Kind.POWER_KW, 0) for ship in (1, 2) for i in range(4)]))
        with store.transaction():
            store.remove_readings(1, START_US + 1, START_US + 3)
        left = [store.readings(ship, 0, EVER_US, 9).moment_us - START_US for ship in (1, 2)]
        assert [each.tolist() for each in left] == [[0, 3], [0, 1, 2, 3]]
        store.close()

    @many_histories
    @given(st.lists(deletions, max_size=8))
    def test_deletions_are_kept_ship_by_ship(self, make_store: MakeStore, deleted: list[Deletion]) -> None:
        """Each put replaces what was stored of its ship, in whatever order they come."""
        store = make_store()
        for each in deleted:
            known = store.deletions([each.ship])
            with store.transaction():
                store.put_deletions(joined(known, Deletions.from_rows([each])))
        nothing = Deletions.from_rows([])
        assert len(store.deletions([])) == 0
        assert list(store.deletions([1, 2, 3, 9]).rows()) == list(joined(Deletions.from_rows(deleted), nothing).rows())
        store.close()

    # --- slots and roll-ups

    @many_histories
    @given(
        st.lists(
            st.lists(
                st.tuples(
                    st.integers(1, 3),
                    st.integers(90, 200),
                    st.floats(0, 1e12),
                    st.sampled_from([0.0, 1e-6, 450.0, 900.0]),
                    st.booleans(),
                ),
                min_size=1,
                max_size=10,
                unique_by=lambda row: row[:2],
            ),
            max_size=8,
        )
    )
    def test_roll_ups_are_the_sums_of_the_slots(
        self, make_store: MakeStore, puts: list[list[tuple[int, int, float, float, bool]]]
    ) -> None:
        """Values that come, grow a million times over, shrink and go leave no trace in any sum."""
        store = make_store()
        expected: dict[tuple[int, int], Slot] = {}
        for rows in puts:
            put(store, slots_of(*rows))
            for ship, at, kwh, covered_s, provisional in rows:
                expected[ship, START_S + 900 * at] = Slot(
                    Fraction(kwh), round(covered_s * 1e6), provisional, round(covered_s * provisional * 1e6)
                )
        there = {key: slot for key, slot in expected.items() if slot.covered_us}
        assert_same(all_slots(store), there)
        assert_roll_ups(store, there)
        store.close()

    def test_a_slot_without_cover_is_nowhere(self, make_store: MakeStore) -> None:
        store = make_store()
        put(store, slots_of((1, 0, 5.0, 900.0, False)))
        put(store, slots_of((1, 0, 0.0, 0.0, False)))
        assert len(store.slots(1, Window())) == 0
        assert len(store.fleet(Window()).start_s) == 0
        assert store.top_ships(Window(), 3) == []
        assert store.top_ships(Window(START_S, START_S + 2 * DAY_S), 3) == []
        assert store.extent() is None
        store.close()

    def test_the_energy_of_a_ship_is_that_of_its_slots(self, make_store: MakeStore) -> None:
        """Of those that are there, in the window, by time."""
        store = make_store()
        put(store, slots_of((1, 3, 0.1 + 0.2, 60.0, True), (1, 0, 1 / 3, 900.0, False), (2, 1, 7.0, 900.0, False)))
        put(store, slots_of((1, 1, 5.0, 900.0, False), (1, 2, 6.0, 900.0, False)))
        put(store, slots_of((1, 1, 0.0, 0.0, False)))
        for ship in (1, 2, 3):
            for window in (Window(), Window(START_S + 900, START_S + 2700), Window(START_S, START_S)):
                slots, energy = store.slots(ship, window), store.energy(ship, window)
                assert energy.start_s.tolist() == slots.start_s.tolist()
                assert energy.kwh.tolist() == slots.kwh.tolist()
                assert energy.start_s.dtype == np.int64
        assert len(store.energy(1, Window())) == 3
        store.close()

    def test_stored_slots_come_by_ship_and_time_each_from_its_window(self, make_store: MakeStore) -> None:
        store = make_store()
        put(store, slots_of(*[(ship, at, 1.0, 900.0, False) for at in range(3) for ship in (10, 9, 8)]))
        found = store.stored_slots(
            ShipWindows.from_rows([(7, 0, END_S), (9, 0, START_S + 900), (10, START_S + 900, END_S)])
        )
        assert found.ship.tolist() == [9, 10, 10]
        assert found.start_s.tolist() == [START_S, START_S + 900, START_S + 1800]
        assert len(store.stored_slots(ShipWindows.from_rows([]))) == 0
        store.close()

    def test_windows_are_half_open(self, make_store: MakeStore) -> None:
        store = make_store()
        put(store, slots_of(*[(1, at, 1.0, 900.0, False) for at in range(4)]))
        window = Window(START_S + 900, START_S + 2700)
        assert store.slots(1, window).start_s.tolist() == [START_S + 900, START_S + 1800]
        assert store.fleet(window).start_s.tolist() == [START_S + 900, START_S + 1800]
        assert [each.kwh for each in store.top_ships(window, 3)] == [2.0]
        assert len(store.slots(1, Window(START_S, START_S))) == 0
        store.close()

    def test_windows_may_cut_days_anywhere(self, make_store: MakeStore) -> None:
        """Whether more or less than half of a day is inside; slots outside do not count."""
        store = make_store()
        kwh = {(ship, at): ship + at / 8 for ship, last in ((1, 3 * A_DAY), (2, 2 * A_DAY)) for at in range(last)}
        put(store, slots_of(*[(ship, at, value, 900.0, False) for (ship, at), value in kwh.items()]))
        cuts = (0, 1, A_DAY // 2 - 1, A_DAY // 2, A_DAY // 2 + 1, A_DAY - 1, A_DAY, A_DAY + 30, 2 * A_DAY + 70)
        for start, end in combinations(cuts, 2):
            window = Window(START_S + 900 * start, START_S + 900 * end)
            found = {each.ship: (each.kwh, each.covered_s) for each in store.top_ships(window, 3)}
            for ship in (1, 2):
                inside = [value for (each, at), value in kwh.items() if each == ship and start <= at < end]
                assert found.get(ship, (0, 0)) == pytest.approx((sum(inside), 900 * len(inside))), window
        store.close()

    def test_the_top_is_sorted_by_energy_then_by_id(self, make_store: MakeStore) -> None:
        store = make_store()
        put(store, slots_of((7, 0, 5.0, 900.0, False), (3, 0, 5.0, 900.0, False), (5, 0, 9.0, 900.0, False)))
        for window in (Window(), Window(START_S, START_S + 900)):
            assert [each.ship for each in store.top_ships(window, 9)] == [5, 3, 7]
            assert [each.ship for each in store.top_ships(window, 2)] == [5, 3]
        store.close()

    def test_what_answers_show_as_equal_is_sorted_by_id(self, make_store: MakeStore) -> None:
        """A third of a kWh three times is a little less than one, and shown as one."""
        store = make_store()
        put(store, slots_of(*[(1, at, 1 / 3, 900.0, False) for at in range(3)], (2, 0, 1.0, 900.0, False)))
        for window in (Window(), Window(START_S, START_S + 2700)):
            assert [each.ship for each in store.top_ships(window, 9)] == [1, 2]
        store.close()

    def test_the_first_and_the_last_slot_are_found(self, make_store: MakeStore) -> None:
        store = make_store()
        far = 96 * 400
        put(store, slots_of((1, 2, 1.0, 900.0, False), (1, far, 1.0, 900.0, False), (2, 0, 1.0, 900.0, False)))
        assert store.first_slot_s(1, Window()) == START_S + 1800
        assert store.first_slot_s(1, Window(START_S + 1800)) == START_S + 1800
        assert store.first_slot_s(1, Window(START_S + 2700)) == START_S + 900 * far
        assert store.first_slot_s(1, Window(START_S + 2700, START_S + 900 * far)) is None
        assert store.first_slot_s(3, Window()) is None
        assert store.first_slot_s(None, Window()) == START_S
        assert store.first_slot_s(None, Window(START_S + 900)) == START_S + 1800
        assert [store.last_slot_s(ship, Window()) for ship in (1, 2, 3)] == [START_S + 900 * far, START_S, None]
        assert store.last_slot_s(1, Window(None, START_S + 900 * far)) == START_S + 1800
        assert store.last_slot_s(1, Window(START_S + 2700, START_S + 900 * far)) is None
        assert store.last_slot_s(None, Window()) == START_S + 900 * far
        assert store.last_slot_s(None, Window(None, START_S + 1800)) == START_S
        store.close()

    def test_all_slots_lie_within_the_reach(self, make_store: MakeStore) -> None:
        """A ship's is wider by less than an hour at each end."""
        store = make_store()
        starts_s: list[int] = []
        for at in (100, 96 * 400, -3000):
            put(store, slots_of((1, at, 1.0, 900.0, False), (2, 0, 1.0, 900.0, False)))
            starts_s.append(START_S + 900 * at)
            ship, fleet = store.reach(1), store.reach(None)
            assert min(starts_s) - 3600 < (ship.start_s or 0) <= min(starts_s)
            assert max(starts_s) < (ship.end_s or 0) <= max(starts_s) + 2 * 3600
            assert (fleet.start_s or 0) <= min(starts_s)
            assert fleet.end_s is None or fleet.end_s > max(starts_s)
        assert len(store.slots(3, store.reach(3))) == 0
        store.close()

    @pytest.mark.parametrize("ship", [1, None])
    def test_the_version_changes_with_every_slot_of_its_window(self, make_store: MakeStore, ship: int | None) -> None:
        """Also where all sums stay as they are, and after a slot has become what it was."""
        store = make_store()
        window = Window(START_S, START_S + 900 * 96 * 3)
        seen = [store.version(ship, window)]
        for rows in (
            [(1, 0, 2.0, 900.0, False), (1, 1, 3.0, 900.0, False), (1, 96 * 2, 3.0, 900.0, False)],
            [(1, 0, 3.0, 900.0, False), (1, 1, 2.0, 900.0, False)],
            [(1, 0, 2.0, 900.0, False), (1, 1, 3.0, 900.0, False)],
            [(1, 0, 2.0, 450.0, False)],
            [(1, 0, 2.0, 450.0, True)],
            [(1, 0, 0.0, 0.0, False)],
            [(1, 96 * 2 + 1, 0.0, 900.0, True)],
            [(1, 96 * 2 + 1, 0.0, 0.0, False)],
        ):
            put(store, slots_of(*rows))
            seen.append(store.version(ship, window))
            assert store.version(ship, window) == seen[-1], "it stays while nothing changes"
        assert None not in seen
        assert len(set(seen)) == len(seen)
        store.close()

    def test_the_version_stays_while_others_change(self, make_store: MakeStore) -> None:
        store = make_store()
        put(store, slots_of((1, 0, 2.0, 900.0, False), (1, 96 * 400, 3.0, 900.0, False)))
        window = Window(START_S, START_S + 900 * 96 * 3)
        seen = [store.version(1, window), store.version(None, window), store.version(1, Window())]
        put(store, slots_of((1, 96 * 399, 2.0, 900.0, False)))
        now = [store.version(1, window), store.version(None, window), store.version(1, Window())]
        assert [one == other for one, other in zip(seen, now, strict=True)] == [True, True, False]
        put(store, slots_of((2, 1, 2.0, 900.0, False)))
        assert [store.version(1, window), store.version(1, Window())] == [now[0], now[2]]
        assert store.version(None, window) != now[1]
        store.close()

    def test_the_version_changes_when_the_window_grows_to_an_older_slot(self, make_store: MakeStore) -> None:
        store = make_store()
        put(store, slots_of((1, 96 * 3, 2.0, 900.0, False)))
        put(store, slots_of((1, 0, 3.0, 900.0, False)))
        near, far = (Window(START_S, START_S + DAY_S * days) for days in (1, 4))
        for ship in (1, None):
            assert store.version(ship, near) != store.version(ship, far)
        store.close()

    def test_what_is_pinned_stays(self, make_store: MakeStore) -> None:
        store = make_store()
        assert store.pinned("a", "1") == "1"
        assert store.pinned("a", "2") == "1"
        assert store.pinned("b", "2") == "2"
        store.close()


def assert_around(
    got: list[int], stored: list[int], edges: tuple[int, ...] | list[int], wanted: tuple[int, int]
) -> None:
    """Compare timestamps with what `readings_around` has to return of one ship's stored ones; more are allowed."""
    start_us, end_us = edges
    first, end = (sum(each < edge for each in stored) for edge in edges)
    assert got == [each for each in stored if got and got[0] <= each <= got[-1]], "a gap, or out of order"
    assert set(stored[max(first - wanted[0], 0) : end + wanted[1]]) <= set(got)
    assert wanted[0] or not got or got[0] >= start_us
    assert wanted[1] or not got or got[-1] < end_us


def assert_roll_ups(store: Store, expected: dict[tuple[int, int], Slot]) -> None:
    """Compare every roll-up with sums over the slots, over all time and over windows that cut days."""
    edges = sorted({start_s for _, start_s in expected})
    windows = [Window()]
    if edges:
        middle = edges[len(edges) // 2]
        windows += [Window(edges[0], middle), Window(middle, edges[-1] + 900), Window(None, middle), Window(middle)]
        assert store.extent() == Window(edges[0], edges[-1] + 900)
    for window in windows:
        inside = {key: slot for key, slot in expected.items() if _within(key[1], window)}
        _assert_fleet(store.fleet(window), inside)
        _assert_top(store, window, inside)


def _within(start_s: int, window: Window) -> bool:
    return (window.start_s is None or window.start_s <= start_s) and (window.end_s is None or start_s < window.end_s)


def _assert_fleet(fleet: FleetSlots, inside: dict[tuple[int, int], Slot]) -> None:
    starts = sorted({start_s for _, start_s in inside})
    assert fleet.start_s.tolist() == starts
    for i, start_s in enumerate(starts):
        slots = [slot for key, slot in inside.items() if key[1] == start_s]
        assert fleet.kwh[i] == pytest.approx(float(sum(slot.kwh for slot in slots)), rel=RELATIVE, abs=1e-11)
        assert fleet.covered_s[i] == pytest.approx(sum(slot.covered_us for slot in slots) / 1e6)
        assert fleet.ships[i] == len(slots)
        assert fleet.whole[i] == sum(slot.covered_us == SLOT_US for slot in slots)
        assert fleet.provisional[i] == any(slot.provisional for slot in slots)
        assert fleet.estimated_s[i] == pytest.approx(sum(slot.estimated_us for slot in slots) / 1e6)


def _assert_top(store: Store, window: Window, inside: dict[tuple[int, int], Slot]) -> None:
    found = store.top_ships(window, 10)
    totals = {ship: float(sum(slot.kwh for key, slot in inside.items() if key[0] == ship)) for ship, _ in inside}
    assert {each.ship: each.kwh for each in found} == pytest.approx(totals, rel=RELATIVE, abs=1e-9)
    for one, other in pairwise(found):  # what has more than 15 digits a store may round in its own way
        are_in_order = (-round(one.kwh, 6), one.ship) < (-round(other.kwh, 6), other.ship)
        assert are_in_order or isclose(one.kwh, other.kwh, rel_tol=1e-15)
    for each in found:
        covered_us = sum(slot.covered_us for key, slot in inside.items() if key[0] == each.ship)
        assert each.covered_s == pytest.approx(covered_us / 1e6)
