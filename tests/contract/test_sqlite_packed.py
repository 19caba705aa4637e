"""The embedded store keeps the contract when its readings are packed, and what packing promises besides."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normalizer_worker.recorder import Recorder
from power_cli.up import ROOT
from shared.domain.errors import Unavailable
from shared.domain.readings import ReadingRanges, Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, Window
from shared.store.sqlite import FILE_NAME, SqliteStore
from shared.store.sqlite_packing import PASS_S, SHARE, STEP_S, WEEK_US, Packing
from shared.store.sqlite_readings import DAY_US, LEAST, MOST, ReadingTables
from tests.support.columns import as_columns
from tests.support.packing import PackingStore, pack_all
from tests.support.reference import Deletion, Reading
from tests.support.store_contract import EVER_US, MakeStore, StoreContract, put
from tests.support.store_edges import StoreEdges
from tests.support.store_ships import StoreShips
from tests.support.strategies import START_US, deletions, every_five_minutes, histories, readings


class TestPackingStore(StoreContract, StoreEdges, StoreShips):
    """The contract, on files whose readings are all packed between two transactions."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        """Make stores in folders of their own."""
        numbers = count()

        def make() -> PackingStore:
            return PackingStore(tmp_path / str(next(numbers)))

        return make


# --- what packing promises


class Twins:
    """A store that packs whenever it is told to, and one that never does, with the same readings."""

    def __init__(self, folder: Path) -> None:
        self.packed, self.plain = SqliteStore(folder / "packed"), SqliteStore(folder / "plain")
        self._recorders = [Recorder(store, DEFAULT_MAX_GAP_US, 40) for store in (self.packed, self.plain)]

    def record(self, readings: Readings) -> None:
        for each in self._recorders:
            each.record(readings)

    def delete(self, deletion: Deletion) -> None:
        for each in self._recorders:
            each.delete(deletion)

    def check(self, edges: tuple[int, int], count: int) -> None:
        """Compare all answers that depend on readings."""
        first, second = (_answers(store, edges, count) for store in (self.packed, self.plain))
        assert first == second
        assert misplaced(self.packed) == []

    def close(self) -> None:
        self.packed.close()
        self.plain.close()


def _answers(store: SqliteStore, edges: tuple[int, int], count: int) -> dict[str, Any]:
    start_us, end_us = edges
    ranges = [(ship, start_us, end_us, before, count) for ship, before in ((1, count), (2, 0), (3, 30))]
    return {
        "ships": [store.ships(-1, 9, (), until_us) for until_us in edges],
        "known": [store.known_ships(after, most) for after in (-1, 1, 2) for most in (1, 9)],
        "around": bits(store.readings_around(ReadingRanges.from_rows(ranges))) if count > 8 else None,
        **{str(ship): bits(store.readings(ship, start_us, end_us, count)) for ship in (1, 2, 3)},
        **{f"all of {ship}": bits(store.readings(ship, 0, EVER_US, 999)) for ship in (1, 2, 3)},
        "slots": [list(store.slots(ship, Window()).rows()) for ship in (1, 2, 3)],
    }


def bits(readings: Readings) -> list[bytes]:
    return [each.tobytes() for each in readings.columns()]


def misplaced(store: SqliteStore) -> list[Any]:
    """Give the rows that lie within packs, and the packs that overlap or are of two days."""
    query = """
    SELECT r.ship, time_us FROM packed_readings p JOIN readings r ON r.ship = p.ship
        AND time_us BETWEEN first_us AND last_us
    UNION ALL SELECT p.ship, p.first_us FROM packed_readings p JOIN packed_readings q ON q.ship = p.ship
        AND q.first_us > p.first_us AND q.first_us <= p.last_us
    UNION ALL SELECT ship, first_us FROM packed_readings WHERE first_us / :day_us < last_us / :day_us
    """
    return store._file.connection().execute(query, {"day_us": DAY_US}).fetchall()


steps = st.one_of(
    histories(12).map(lambda batches: [each for batch in batches for each in batch]),
    deletions,
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from([EVER_US, START_US + 36 * 3600 * 10**6])),
)
packed_counts = count()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, min_size=2, max_size=8), st.tuples(readings, readings), st.sampled_from([1, 3, 20]))
def test_packing_at_any_time_changes_no_answer(
    tmp_path: Path, done: list[Any], bounds: tuple[Reading, Reading], most: int
) -> None:
    """Bit for bit, whatever is recorded, corrected or deleted before, between and after."""
    twins = Twins(tmp_path / str(next(packed_counts)))
    for each in done:
        if isinstance(each, Deletion):
            twins.delete(each)
        elif isinstance(each, list):
            twins.record(as_columns(each))
        else:
            least, longest, until_us = each
            pack_all(twins.packed, until_us, least=least, most=longest)
    start_us, end_us = sorted(each.moment_us for each in bounds)
    twins.check((start_us, end_us), most)
    twins.close()


def packs(store: SqliteStore) -> int:
    (found,) = store._file.connection().execute("SELECT count(*) FROM packed_readings").fetchone()
    return int(found)


def in_rows(store: SqliteStore) -> int:
    (found,) = store._file.connection().execute("SELECT count(*) FROM readings").fetchone()
    return int(found)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path)
    yield store
    store.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the packing's pauses, which the test moves."""
    at_s = [1000.0]
    monkeypatch.setattr("shared.store.sqlite_packing.monotonic", lambda: at_s[0])
    return at_s


def test_readings_are_packed_once_they_are_a_week_old(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole days, by the clock; the days after them stay rows."""
    put(store, Readings.concat([every_five_minutes(0, 288 * 4, ship) for ship in (1, 2)]))
    clock_us = iter([START_US + WEEK_US + hours * 3600 * 10**6 for hours in (0, 23, 24, 47, 48)])
    monkeypatch.setattr("shared.store.sqlite_packing.now_us", lambda: next(clock_us))
    for days in (0, 0, 1, 1, 2):
        store._packing = Packing(store._file)
        store.tidy()
        assert (packs(store), in_rows(store)) == (2 * days, 2 * 288 * (4 - days))


def test_days_of_few_readings_stay_rows(store: SqliteStore) -> None:
    put(store, every_five_minutes(0, LEAST - 1))
    store.tidy()
    assert (packs(store), in_rows(store)) == (0, LEAST - 1)


@pytest.mark.usefixtures("clock")
def test_a_pack_is_bounded_whatever_a_day_has(store: SqliteStore) -> None:
    """So is what a late reading costs that lies in one."""
    put(store, as_columns([(1, START_US + 10**6 * second, float(second), 0, 5) for second in range(3 * MOST + 20)]))
    store.tidy()
    assert (packs(store), in_rows(store)) == (4, 0)
    Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns([(1, START_US + 10**6 * MOST + 1, 3.0, 0, 5)]))
    assert (packs(store), in_rows(store)) == (3, MOST + 1)


def test_what_late_readings_touch_is_packed_again_once_an_hour(store: SqliteStore, clock: list[float]) -> None:
    """A sender that corrects one old reading again and again has its day unpacked and packed once in that time."""
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    recorder.record(every_five_minutes(0, 288))
    store.tidy()
    assert (packs(store), in_rows(store)) == (1, 0)
    for sent_at_us in range(2, 20):
        clock[0] += PASS_S / 40
        recorder.record(as_columns([(1, START_US, 9.0 + sent_at_us, 0, sent_at_us)]))
        store.tidy()
        assert (packs(store), in_rows(store)) == (0, 288)
    clock[0] += PASS_S
    store.tidy()
    assert (packs(store), in_rows(store)) == (1, 0)
    assert store.readings(1, START_US, START_US + 1, 9).value.tolist() == [28.0]


def test_late_readings_on_both_sides_of_a_pack_get_packs_of_their_own(store: SqliteStore, clock: list[float]) -> None:
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    for start, length, number in ((100, 50, 1), (20, 30, 1), (200, 30, 3)):
        recorder.record(every_five_minutes(start, length))
        if start != 20:
            store.tidy()
            clock[0] += PASS_S
            assert (packs(store), in_rows(store)) == (number, 0)
    assert misplaced(store) == []


@pytest.mark.usefixtures("clock")
def test_neighbours_and_repeats_unpack_nothing(store: SqliteStore) -> None:
    """A day that comes between two packed ones, in the order of their import, or a second time."""
    recorder = Recorder(store, DEFAULT_MAX_GAP_US, 0)
    for day in (0, 2):
        recorder.record(every_five_minutes(288 * day, 288))
    store.tidy()
    recorder.record(every_five_minutes(0, 288))
    recorder.record(every_five_minutes(288, 288))
    assert (packs(store), in_rows(store)) == (2, 288)
    assert store.slots(1, Window()).kwh.tolist() == [1.5] * (3 * 96)


def test_packing_pauses_between_its_steps(store: SqliteStore, clock: list[float]) -> None:
    """A step ends after some milliseconds, and goes on where it stood when its share of the time has passed."""
    put(store, Readings.concat([every_five_minutes(0, 288, ship) for ship in range(4)]))
    packed: list[int] = []
    with patch.object(ReadingTables, "pack", autospec=True, side_effect=_taking(clock, STEP_S, ReadingTables.pack)):
        for _ in range(9):
            store.tidy()
            packed.append(packs(store))
            clock[0] += 0.6 * STEP_S / SHARE
    assert packed == [1, 1, 2, 2, 3, 3, 4, 4, 4]
    assert not store.tidy(), "nothing that cannot wait"


def test_packing_that_fails_is_put_off(store: SqliteStore, tmp_path: Path, clock: list[float]) -> None:
    """A disk that is full, or a file that is locked, must not keep the worker from storing."""
    put(store, every_five_minutes(0, 288))
    store._file.connection().execute("PRAGMA busy_timeout=1")
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            store.tidy()
        store.tidy()
    assert packs(store) == 0
    clock[0] += PASS_S
    store.tidy()
    assert packs(store) == 1


def _taking(clock: list[float], seconds: float, call: Callable[..., Any]) -> Callable[..., Any]:
    def taking(*args: Any, **more: Any) -> Any:
        clock[0] += seconds
        return call(*args, **more)

    return taking


def test_whoever_reads_meanwhile_finds_every_reading_once(tmp_path: Path, store: SqliteStore) -> None:
    put(store, every_five_minutes(0, 288))
    expected = bits(store.readings(1, 0, EVER_US, 999))
    packing = Event()

    def read() -> int:
        times = 0
        with closing(SqliteStore(tmp_path)) as other:
            while not packing.is_set():
                assert bits(other.readings(1, 0, EVER_US, 999)) == expected
                times += 1
        return times

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(read)
        for i in range(200):
            pack_all(store, most=MOST)
            with store.transaction():
                store.remove_readings(1, START_US + i, START_US + i)  # none, and unpacks
        packing.set()
        assert reader.result() > 1


_PACK = """
import sys
from pathlib import Path
from shared.store.sqlite import FILE_NAME, SqliteStore
from shared.store.sqlite_readings import ReadingTables
from tests.support.crash_points import Point, after, committing, die_at
from tests.support.packing import pack_all
points = {
    "between two packs": after(ReadingTables, "pack"),
    "before the commit": committing("power.sqlite"),
    "after the commit": committing("power.sqlite", is_after=True),
}
die_at(Point(points[sys.argv[2]]), sys.argv[2])
pack_all(SqliteStore(Path(sys.argv[1])), most=512)
"""


@pytest.mark.parametrize("point", ["between two packs", "before the commit", "after the commit"])
def test_killed_while_packing_it_loses_nothing(tmp_path: Path, store: SqliteStore, point: str) -> None:
    Recorder(store, DEFAULT_MAX_GAP_US).record(every_five_minutes(0, 500))
    expected = bits(store.readings(1, 0, EVER_US, 999))
    store.close()
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-P", "-c", _PACK, str(tmp_path), point], env=environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert bits(store.readings(1, 0, EVER_US, 999)) == expected
    assert (packs(store), in_rows(store)) == ((2, 0) if point == "after the commit" else (0, 500))


def test_a_file_of_version_4_is_packed(tmp_path: Path, store: SqliteStore) -> None:
    put(store, every_five_minutes(0, 288))
    execute = store._file.connection().execute
    made = "SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'packed_readings' ORDER BY name"
    tables = execute(made).fetchall()
    execute("DROP TABLE packed_readings")
    execute("DROP TABLE covariates")
    execute("PRAGMA user_version=4")
    with closing(SqliteStore(tmp_path)) as upgraded:
        upgraded.tidy()
        assert (packs(upgraded), in_rows(upgraded)) == (1, 0)
        assert upgraded._file.connection().execute(made).fetchall() == tables


def test_a_page_of_ships_costs_the_same_however_many_readings_they_have(store: SqliteStore) -> None:
    """Counted in steps of SQLite, for rows and for packs: the first and the last reading are looked up."""
    steps: list[int] = []
    connection = store._file.connection()
    for days in (1, 30):
        Recorder(store, DEFAULT_MAX_GAP_US).record(every_five_minutes(0, 288 * days))
        for are_packed in (False, True):
            if are_packed:
                pack_all(store, most=MOST)
            steps.append(0)
            connection.set_progress_handler(_count_into(steps), 1)
            store.ships(-1, 9, (), EVER_US)
            store.known_ships(-1, 9)
            connection.set_progress_handler(None, 1)
    assert max(steps[2:]) < 1.2 * max(steps[:2])


def _count_into(steps: list[int]) -> Callable[[], int]:
    def count_one() -> int:
        steps[-1] += 1
        return 0

    return count_one
