"""The embedded store keeps the contract, and a few promises of its own."""

import os
import re
import sqlite3
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from power_cli.up import ROOT
from shared.errors import InvalidSettings, Unavailable
from shared.readings import Readings
from shared.slots import Window
from shared.sqlite_files import SqliteFile
from shared.store.port import Span
from shared.store.sqlite import FILE_NAME, SqliteStore
from tests.contracts.store_contract import DAY_S, START_S, MakeStore, Store, StoreContract, put, slots_of
from tests.contracts.store_edges import StoreEdges
from tests.support.strategies import START_US

ONE = Readings.from_rows([(1, START_US, 1.0, False, 0)])


class TestSqliteStore(StoreContract, StoreEdges):
    """The contract, on files."""

    folders: dict[int, Path]

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        """Make stores in folders of their own."""
        numbers = count()
        self.folders = {}

        def make() -> SqliteStore:
            folder = tmp_path / str(next(numbers))
            store = SqliteStore(folder)
            self.folders[id(store)] = folder
            return store

        return make

    def same_store_again(self, store: Store) -> Store:
        """Open the same file."""
        return SqliteStore(self.folders[id(store)])

    # --- transactions

    def test_an_error_inside_leaves_nothing(self, make_store: MakeStore) -> None:
        store = make_store()

        def fail() -> None:
            with store.transaction():
                store.put_readings(Readings.from_rows([(1, START_US, 1.0, False, 0)]))
                store.put_slots(slots_of((1, 0, 1.0, 900.0, False)), slots_of((1, 0, 0.0, 0.0, False)))
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert len(store.slots(1, Window())) == 0
        (found,) = store.neighbourhoods([Span(1, START_US, START_US)])
        assert len(found.readings) == 0
        store.close()


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("not a database, though it is long enough to be taken for one " * 40)
    with pytest.raises(InvalidSettings, match="file is not a database"):
        SqliteStore(tmp_path)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(InvalidSettings, match="version 99"):
        SqliteStore(tmp_path)


def test_a_file_of_release_0_1_0_is_upgraded(tmp_path: Path) -> None:
    """What is in it stays, its triggers are those of a new file, and changes of its slots are marked from then on."""
    SqliteStore(tmp_path / "new").close()
    old = sqlite3.connect(tmp_path / FILE_NAME)
    old.executescript((Path(__file__).parent / "sqlite_0_1_0.sql").read_text("utf-8"))
    old.execute("INSERT INTO energy (ship, start_s, kwh, covered_s, provisional) VALUES (1, ?, 2.5, 900, 0)", [START_S])
    old.execute("PRAGMA user_version=1")
    old.commit()
    old.close()
    store = SqliteStore(tmp_path)
    assert store.slots(1, Window()).kwh.tolist() == store.fleet(Window()).kwh.tolist() == [2.5]
    version = store.version(1, Window())
    put(store, slots_of((1, 0, 3.5, 900.0, False)))
    assert store.version(1, Window()) != version
    assert _made_by(tmp_path / FILE_NAME) == _made_by(tmp_path / "new" / FILE_NAME)
    store.close()


def _made_by(path: Path) -> dict[str, str]:
    """Give what a file's tables, indices and triggers are made by, and the order of the columns."""
    connection = sqlite3.connect(path)
    made = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        made.append((table, repr(connection.execute(f"PRAGMA table_info({table})").fetchall())))
    connection.close()
    return dict(made)


def test_another_writer_makes_it_unavailable(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    store._file.connection().execute("PRAGMA busy_timeout=50")
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        put(store, ONE)
    other.execute("ROLLBACK")
    other.close()
    put(store, ONE)
    store.close()


def test_a_file_that_another_process_fills_can_be_opened(tmp_path: Path) -> None:
    """Whoever only reads must not wait for whoever writes, and a restart must not fail over it."""
    store = SqliteStore(tmp_path)
    with store.transaction():
        store.put_readings(ONE)
        SqliteStore(tmp_path).close()
    store.close()


def test_a_new_file_that_another_process_makes_is_waited_for(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Unavailable, match="locked"):
        SqliteFile(tmp_path / FILE_NAME, "CREATE TABLE a (b);", 1, busy_s=0.05)
    other.close()
    SqliteStore(tmp_path).close()


_OPEN = """
import random, sys, time
from pathlib import Path
from shared.store.port import Span
from shared.store.sqlite import SqliteStore
print("ready", flush=True)
start_s = float(sys.stdin.readline())
for i in range(300):
    due_s = start_s + i * 0.008 + random.random() * 0.004
    while time.time() < due_s:
        pass
    SqliteStore(Path(sys.argv[1]) / str(i)).close()
"""


def test_several_processes_may_make_one_file_at_once(tmp_path: Path) -> None:
    """Worker and query service start together."""
    command = [sys.executable, "-P", "-c", _OPEN, str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environ) for _ in range(3)
    ]
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    start = f"{time.time() + 0.1}\n"
    assert [each.communicate(start, timeout=60)[1] for each in processes] == ["", "", ""]


def test_a_full_disk_makes_it_unavailable_and_loses_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    put(store, slots_of((1, 0, 1.0, 900.0, False)))
    pages = store._file.connection().execute("PRAGMA page_count").fetchone()[0]
    store._file.connection().execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(Unavailable, match="full"):
        put(store, slots_of(*[(ship, at, 1.0, 900.0, False) for ship in range(9) for at in range(1, 500)]))
    assert store.slots(1, Window()).kwh.tolist() == [1.0]
    store.close()


def test_a_sum_beyond_64_bits_does_not_stop_the_store(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    for ship in range(30):
        put(store, slots_of((ship, 0, 1e18, 900.0, False)))
    assert store.fleet(Window()).kwh.tolist() == pytest.approx([3e19])
    put(store, slots_of((0, 0, 1.0, 900.0, False)))
    assert store.fleet(Window()).kwh.tolist() == pytest.approx([2.9e19])
    store.close()


def test_no_question_reads_all_slots_of_all_ships(tmp_path: Path) -> None:
    """Whatever SQLite thinks of it: the slots of a window are found by their ship and start."""
    store = SqliteStore(tmp_path)
    connection = store._file.connection()
    asked: list[str] = []
    connection.set_trace_callback(asked.append)
    window = Window(START_S + 900, START_S + 30 * DAY_S + 900)
    for each in (Window(), window):
        store.slots(1, each)
        store.fleet(each)
        store.top_ships(each, 3)
        for ship in (1, None):
            store.first_slot_s(ship, each)
            store.version(ship, each)
        store.last_slot_s(1)
        store.extent()
    connection.set_trace_callback(None)
    plans = [row[3] for question in asked for row in connection.execute(f"EXPLAIN QUERY PLAN {question}")]
    assert any("SEARCH e " in plan for plan in plans), "the edges of the window are looked up"
    assert not [plan for plan in plans if re.match(r"SCAN (e|energy|ship_day_energy)\b", plan)]
    store.close()
