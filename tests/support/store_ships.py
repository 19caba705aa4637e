"""What every store must tell of single ships and of their raw readings, inherited like the contract."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normalizer_worker.recorder import Recorder
from shared.domain.readings import Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_US, Window
from shared.domain.timestamps import US_PER_S
from shared.store.port import NEWEST, EnergyReader, ShipHistory
from tests.support import reference
from tests.support.columns import as_columns
from tests.support.reference import Reading
from tests.support.store_contract import DAY_S, START_S, MakeStore, Store, many_histories
from tests.support.strategies import START_US, histories

MINUTE_US = 60_000_000
few_histories = settings(many_histories, max_examples=25)
EVER = 7_258_118_400_000_000
WINDOWS = (
    Window(START_S, START_S + DAY_S),
    Window(START_S + 900, START_S + 2700),
    Window(START_S - 900, START_S + 2 * DAY_S + 900),
    Window(START_S + DAY_S // 2, START_S + DAY_S * 3 // 2),
    Window(START_S, START_S + 100 * DAY_S),
)


def assert_ships(
    store: EnergyReader, rows: Iterable[Reading], max_gap_us: int = DEFAULT_MAX_GAP_US, until_us: int = EVER
) -> None:
    """Compare what a store tells of every ship that has a slot with what follows from all readings."""
    rows = list(rows)
    expected = [
        _history([row for row in rows if row.ship == ship], max_gap_us, until_us)
        for ship in sorted({ship for ship, _ in reference.slots(rows, max_gap_us)})
    ]
    found = store.ships(-1, 100, WINDOWS, until_us)
    assert found.next is None
    assert [_without_kwh(each) for each in found.ships] == [_without_kwh(each) for each in expected]
    for mine, theirs in zip(found.ships, expected, strict=True):
        assert [each is None for each in mine.kwh] == [each is None for each in theirs.kwh]
        used = [(a, b) for a, b in zip(mine.kwh, theirs.kwh, strict=True) if a is not None]
        assert [each[0] for each in used] == pytest.approx([each[1] for each in used], rel=1e-9, abs=1e-9)


def _without_kwh(each: ShipHistory) -> tuple[object, ...]:
    return each.ship, each.first_us, each.newest_us, each.ahead_us, each.slots, each.whole


def _history(rows: Sequence[Reading], max_gap_us: int, until_us: int) -> ShipHistory:
    slots = reference.slots(rows, max_gap_us)
    moments_us = sorted({row.moment_us for row in rows})
    starts_s = [start_s for _, start_s in slots if start_s <= until_us // US_PER_S]
    ahead_us = [each for each in moments_us if each > until_us]
    kwh = []
    for window in WINDOWS:
        start_s, end_s = window.start_s or 0, window.end_s or 0
        inside = [slot.kwh for (_, at_s), slot in slots.items() if start_s <= at_s < end_s]
        kwh.append(float(sum(inside)) if inside else None)
    return ShipHistory(
        rows[0].ship,
        moments_us[0],
        tuple([each for each in moments_us if each <= until_us][-NEWEST:]),
        ahead_us[-1] if ahead_us else None,
        len(range(min(starts_s), max(starts_s) + 900, 900)) if starts_s else 0,
        sum(slot.covered_us == SLOT_US for (_, at_s), slot in slots.items() if at_s in starts_s),
        tuple(kwh),
    )


def stream(ship: int, start_us: int, step_us: int, n: int) -> list[Reading]:
    """Give readings of one ship at equal distances."""
    return [Reading(ship, start_us + step_us * i, 6.0, False, 0) for i in range(n)]


def record(store: Store, rows: Sequence[Reading]) -> None:
    """Have the worker's use-case store readings."""
    Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns(rows))


class StoreShips:
    """Inherited by one class per adapter, beside `StoreContract`."""

    @few_histories
    @given(histories(), st.sampled_from([SLOT_US, 7_200_000_000, DEFAULT_MAX_GAP_US]))
    def test_ships_are_told_of_as_their_readings_have_it(
        self, make_store: MakeStore, batches: list[list[Reading]], max_gap_us: int
    ) -> None:
        """After every batch: late ones, corrections and repeats too."""
        store = make_store()
        recorder = Recorder(store, max_gap_us)
        for i, batch in enumerate(batches):
            recorder.record(as_columns(batch))
            if i == len(batches) // 2 or i == len(batches) - 1:
                rows = [row for each in batches[: i + 1] for row in each]
                moments_us = sorted(row.moment_us for row in rows)
                for until_us in (EVER, moments_us[len(rows) // 2], moments_us[0] - 1):
                    assert_ships(store, rows, max_gap_us, until_us)
        store.close()

    def test_ships_without_energy_are_known(self, make_store: MakeStore) -> None:
        """A counter's first reading gives no energy; a deletion may have left nothing."""
        store = make_store()
        assert store.known_ships(-1, 9) == []
        recorder = Recorder(store, DEFAULT_MAX_GAP_US)
        recorder.record(as_columns([(4, START_US, 1.0, Kind.POWER_KW, 0), (2, START_US, 9.0, Kind.COUNTER_KWH, 0)]))
        recorder.record(as_columns([(9, START_US, 1.0, Kind.POWER_KW, 0), (9, START_US + 1, 1.0, Kind.POWER_KW, 0)]))
        recorder.delete((4, START_US, START_US + 1, 1))
        recorder.delete((7, START_US, START_US + 1, 1))
        assert store.known_ships(-1, 9) == [2, 4, 7, 9]
        assert store.known_ships(2, 2) == [4, 7]
        assert store.known_ships(4, 2) == [7, 9]
        assert store.known_ships(9, 2) == []
        assert [each.ship for each in store.ships(-1, 9, (), EVER).ships] == [9]
        store.close()

    @pytest.mark.parametrize("step_us", [1_000_000, 5 * MINUTE_US, 60 * MINUTE_US, 24 * 60 * MINUTE_US])
    @pytest.mark.parametrize("n", [1, 2, NEWEST - 1, NEWEST, NEWEST + 9])
    def test_the_newest_readings_are_found_at_any_cadence(self, make_store: MakeStore, step_us: int, n: int) -> None:
        """Also after a silence of a year, and however many there are."""
        store = make_store()
        year_us = 365 * 24 * 60 * MINUTE_US
        rows = [
            *stream(1, START_US, step_us, n),
            *stream(2, START_US, step_us, 5),
            *stream(2, START_US + year_us, step_us, n),
        ]
        record(store, rows)
        assert_ships(store, rows)
        store.close()

    def test_a_late_reading_that_shortens_the_newest_ones_stretch_shortens_the_ships_time(
        self, make_store: MakeStore
    ) -> None:
        """The newest reading spoke for as long as the time since the one before it."""
        store = make_store()
        hours_us = 60 * MINUTE_US
        rows = [Reading(1, START_US + at * hours_us, 6.0, False, 0) for at in (0, 12, 11)]
        for i, row in enumerate(rows):
            record(store, [row])
            assert_ships(store, rows[: i + 1])
        store.close()

    def test_a_reading_that_changes_no_slot_is_the_newest_all_the_same(self, make_store: MakeStore) -> None:
        """It says what the one before it said, and for no longer."""
        store = make_store()
        rows = [Reading(1, START_US + at * MINUTE_US, 6.0, False, 0) for at in (0, 10)]
        record(store, rows)
        before = store.slots(1, Window()).covered_s.tolist()
        rows.append(Reading(1, START_US + 15 * MINUTE_US, 6.0, False, 0))
        record(store, rows[-1:])
        assert store.slots(1, Window()).covered_s.tolist() == before
        assert_ships(store, rows)
        store.close()

    def test_the_ends_move_though_no_slot_becomes_whole(self, make_store: MakeStore) -> None:
        """Lone readings beside the slots' edges, days apart, the later and the earlier ones in batches of their own."""
        store = make_store()
        rows = [Reading(1, START_US + (day * 24 * 60 + 5) * MINUTE_US, 6.0, False, 0) for day in (10, 15, 4)]
        for i, row in enumerate(rows):
            record(store, [row])
            assert_ships(store, rows[: i + 1])
        store.close()

    @pytest.mark.parametrize("days_ahead", [[], [0.1], [1, 2, 3000], [50_000]])
    def test_readings_in_the_future_hide_nothing_of_the_past(
        self, make_store: MakeStore, days_ahead: list[float]
    ) -> None:
        """A ship that has only those is there, too; seconds after now, or as far as a reading may lie."""
        store = make_store()
        day_us = 24 * 60 * MINUTE_US
        now_us = START_US + day_us
        future = [Reading(ship, now_us + int(at * day_us), 6.0, False, 0) for ship in (1, 2) for at in days_ahead]
        rows = [*stream(1, START_US, 7 * MINUTE_US, 200), *future]
        record(store, rows)
        for until_us in (now_us, START_US + 20 * MINUTE_US, START_US - 1):
            assert_ships(store, rows, until_us=until_us)
        store.close()

    def test_ships_come_page_by_page_in_the_order_of_their_numbers(self, make_store: MakeStore) -> None:
        """10 after 9, though not in the alphabet; 0 is a ship."""
        store = make_store()
        record(store, [Reading(ship, START_US, 1.0, False, 0) for ship in (0, 9, 10, 100, 11)])
        pages: list[list[int]] = []
        after: int | None = -1
        while after is not None:
            ships, after = store.ships(after, 2, (), EVER)
            pages.append([each.ship for each in ships])
        assert pages == [[0, 9], [10, 11], [100]]
        assert store.ships(100, 2, (), EVER) == ([], None)
        store.close()

    def test_nobody_has_been_heard_of_at_first(self, make_store: MakeStore) -> None:
        store = make_store()
        assert store.ships(-1, 9, WINDOWS, EVER) == ([], None)
        assert len(store.readings(1, 0, EVER, 9)) == 0
        store.close()

    @few_histories
    @given(histories(), st.lists(st.integers(-1, 10 * 24 * 60), min_size=2, max_size=2), st.integers(1, 9))
    def test_raw_readings_are_those_that_count_page_by_page(
        self, make_store: MakeStore, batches: list[list[Reading]], bounds: list[int], count: int
    ) -> None:
        """Each moment once, with the value that was sent last; the window is half-open and cuts no slots."""
        store = make_store()
        recorder = Recorder(store, DEFAULT_MAX_GAP_US)
        for batch in batches:
            recorder.record(as_columns(batch))
        start_us, end_us = (START_US + at * MINUTE_US for at in sorted(bounds))
        counting = reference.counting(row for each in batches for row in each)
        expected = [counting[key] for key in sorted(counting) if key[0] == 1 and start_us <= key[1] < end_us]
        found: list[Reading] = []
        while True:
            part = store.readings(1, start_us, end_us, count)
            found += [Reading(*row) for row in part.rows()]
            if len(part) < count:
                break
            start_us = found[-1].moment_us + 1
        np.testing.assert_array_equal(as_columns(found).columns(), as_columns(expected).columns())  # NaN is NaN there
        assert all(before.moment_us < after.moment_us for before, after in pairwise(found))
        store.close()
