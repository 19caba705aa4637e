"""What recording costs: reads only where it must, and never across the years."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer_worker import recorder
from normalizer_worker.recorder import NEAR_US, Recorder, stretches, transactions
from normalizer_worker.rule.normalize import latest
from shared.domain.errors import Unavailable
from shared.domain.readings import Kind, ReadingRanges, Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, Slots, Window
from shared.store.memory import MemoryStore
from tests.support.columns import as_columns
from tests.support.reference import Reading
from tests.support.strategies import DAY_US, FIVE_MINUTES_US, START_US, every_five_minutes, readings


class WatchedStore(MemoryStore):
    """A store that counts what is read from it and can fail on demand."""

    asked: int = 0
    given: int = 0
    fails: bool = False

    def readings_around(self, ranges: ReadingRanges) -> Readings:
        found = super().readings_around(ranges)
        self.asked += len(ranges)
        self.given += len(found)
        return found

    def put_slots(self, slots: Slots, was: Slots) -> None:
        super().put_slots(slots, was)
        if self.fails:
            raise Unavailable("on demand")


@pytest.fixture
def store() -> WatchedStore:
    return WatchedStore()


def test_a_stream_in_order_reads_nothing_back(store: WatchedStore) -> None:
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    recorder.record(every_five_minutes(0, 1))
    assert store.asked == 1, "the ship is unknown at first"
    for i in range(1, 60):
        recorder.record(every_five_minutes(i, 1))
    recorder.record(every_five_minutes(60, 288))
    recorder.record(every_five_minutes(347, 288))  # it repeats the newest one
    assert store.asked == 1


def test_a_little_late_or_repeated_reads_nothing_back(store: WatchedStore) -> None:
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    recorder.record(every_five_minutes(0, 100))
    recorder.record(every_five_minutes(101, 1))
    recorder.record(every_five_minutes(100, 1))
    recorder.record(every_five_minutes(101, 1))
    assert store.asked == 1


@pytest.mark.parametrize("days", [2, 60])
def test_what_is_read_for_a_late_reading_does_not_grow_with_the_history(store: WatchedStore, days: int) -> None:
    Recorder(store, DEFAULT_MAX_GAP_US).record(every_five_minutes(0, 288 * days))
    store.given = 0
    Recorder(store, DEFAULT_MAX_GAP_US).record(every_five_minutes(288 * days // 2, 1, value=7.0))
    assert store.given <= 30


def test_what_lies_between_far_apart_readings_of_one_batch_is_not_read(store: WatchedStore) -> None:
    Recorder(store, DEFAULT_MAX_GAP_US).record(every_five_minutes(0, 288 * 60))
    store.given = 0
    ends = Readings.concat([every_five_minutes(10, 1, value=7.0), every_five_minutes(288 * 60 - 10, 1, value=7.0)])
    Recorder(store, DEFAULT_MAX_GAP_US).record(ends)
    assert store.given <= 60


def test_the_cache_is_bounded(store: WatchedStore) -> None:
    recorder = Recorder(store, DEFAULT_MAX_GAP_US, cached_readings=10 * 40)
    for round_ in range(3):
        recorder.record(Readings.concat([every_five_minutes(round_, 1, ship) for ship in range(100)]))
    assert len(recorder._cache._ends) <= 12
    assert recorder._cache._size <= 400


def test_what_was_not_committed_is_not_remembered(store: WatchedStore) -> None:
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    recorder.record(every_five_minutes(0, 3))
    store.fails = True
    with pytest.raises(Unavailable):
        recorder.record(every_five_minutes(3, 1, value=1e9))
    store.fails = False
    recorder.record(every_five_minutes(4, 1))
    assert store.slots(1, Window()).kwh.tolist() == pytest.approx([1.5, 1.5])


def test_a_decade_of_daily_readings_in_one_batch_is_taken_in_parts(
    store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them makes a day of slots: too many of them for one transaction, and for the memory."""
    monkeypatch.setattr(recorder, "MAX_SLOTS", 10_000)
    daily = as_columns([(1, START_US + DAY_US * day, 96.0, Kind.ENERGY_KWH, 1) for day in range(1000)])
    assert max(len(part) for part in transactions(daily, DEFAULT_MAX_GAP_US)) <= 105
    Recorder(store, DEFAULT_MAX_GAP_US).record(daily)
    slots = store.slots(1, Window())
    assert slots.kwh.tolist() == [1.0] * 96 * 1000


def test_a_great_many_ships_go_into_several_transactions_however_few_slots_they_have() -> None:
    many = as_columns([(ship, START_US, 1.0, Kind.POWER_KW, 0) for ship in range(3 * recorder.MAX_SHIPS)])
    gap_us = 15 * 60 * 10**6
    assert 3 <= len(parts := list(transactions(many, gap_us))) <= 4
    assert max(map(len, parts)) <= recorder.MAX_SHIPS


def test_readings_that_lie_apart_go_into_several_transactions() -> None:
    """Each is read by itself, and the transaction has to end before what it read is too old."""
    apart_us = NEAR_US + FIVE_MINUTES_US
    apart = as_columns([(1, START_US + apart_us * at, 1.0, Kind.POWER_KW, 1) for at in range(2000)])
    assert max(len(part) for part in transactions(apart, DEFAULT_MAX_GAP_US)) <= recorder.MAX_STRETCHES
    together = every_five_minutes(0, 2000)
    assert [len(part) for part in transactions(together, DEFAULT_MAX_GAP_US)] == [2000]


@given(st.lists(readings, min_size=1, max_size=40), st.sampled_from([1, 2, 100]))
def test_transactions_hold_every_reading_once_and_in_order(drawn: list[Reading], max_slots: int) -> None:
    rows = latest(as_columns(drawn))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(recorder, "MAX_SLOTS", max_slots)
        parts = list(transactions(rows, DEFAULT_MAX_GAP_US))
    assert all(len(part) for part in parts)
    together = Readings.concat(parts)
    assert together.moment_us.tolist() == rows.moment_us.tolist()
    assert together.ship.tolist() == rows.ship.tolist()


def test_what_lies_between_two_readings_within_the_longest_gap_is_not_read(store: WatchedStore) -> None:
    Recorder(store, DEFAULT_MAX_GAP_US).record(every_five_minutes(0, 288))
    store.given = 0
    ends = Readings.concat([every_five_minutes(10, 1, value=7.0), every_five_minutes(270, 1, value=7.0)])
    Recorder(store, DEFAULT_MAX_GAP_US).record(ends)
    assert store.given <= 60


def test_stretches_split_each_ship_at_long_gaps() -> None:
    near = NEAR_US
    rows = [(1, 0), (1, near), (1, 2 * near + 1), (2, 0), (2, 2 * near), (2, 4 * near), (3, 5)]
    readings = as_columns([(ship, moment, 0.0, Kind.POWER_KW, 0) for ship, moment in rows])
    parts = [
        list(zip(part.ship.tolist(), part.moment_us.tolist(), strict=True)) for part in stretches(readings, DAY_US)
    ]
    assert parts == [
        [(1, 0), (1, near), (2, 0), (3, 5)],
        [(1, 2 * near + 1), (2, 2 * near)],
        [(2, 4 * near)],
    ]
