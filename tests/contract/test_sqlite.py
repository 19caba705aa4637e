"""The embedded store keeps the contract, and a few promises of its own."""

import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from normalizer_worker.rule.normalize import normalize
from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings, Unavailable
from shared.domain.readings import Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, Window
from shared.runtime.sqlite_files import SqliteFile
from shared.store.port import ShipEnergy
from shared.store.sqlite import FILE_NAME, SqliteStore
from tests.support.columns import as_columns
from tests.support.reference import Reading
from tests.support.store_contract import (
    DAY_S,
    START_S,
    MakeStore,
    StoreContract,
    put,
    slots_of,
)
from tests.support.store_covariates import StoreCovariates, covariates, put_covariates
from tests.support.store_edges import StoreEdges
from tests.support.store_ships import EVER, MINUTE_US, StoreShips
from tests.support.strategies import START_US
from tests.support.upgraded import PLAIN_ROWS, assert_kept

ONE = as_columns([(1, START_US, 1.0, False, 0)])
_TRIGGERS = """
DROP TABLE packed_readings;
DROP TABLE covariates;
CREATE TRIGGER energy_inserted AFTER INSERT ON energy BEGIN UPDATE fleet_energy SET ships = ships + 1; END;
CREATE TRIGGER energy_updated AFTER UPDATE ON energy BEGIN UPDATE fleet_energy SET ships = ships + 1; END;
CREATE TRIGGER energy_deleted AFTER DELETE ON energy BEGIN UPDATE fleet_energy SET ships = ships + 1; END;
"""


class TestSqliteStore(StoreContract, StoreEdges, StoreShips, StoreCovariates):
    """The contract, on files."""

    @pytest.fixture
    def make_store(self, tmp_path: Path) -> MakeStore:
        """Make stores in folders of their own."""
        numbers = count()

        def make() -> SqliteStore:
            return SqliteStore(tmp_path / str(next(numbers)))

        return make

    def test_an_error_inside_leaves_nothing(self, make_store: MakeStore) -> None:
        store = make_store()

        def fail() -> None:
            with store.transaction():
                store.put_readings(as_columns([(1, START_US, 1.0, False, 0)]))
                store.put_slots(slots_of((1, 0, 1.0, 900.0, False)), slots_of((1, 0, 0.0, 0.0, False)))
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert len(store.slots(1, Window())) == 0
        assert len(store.readings(1, 0, EVER, 9)) == 0
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
    """What is in it stays, its tables are those of a new file, and changes of its slots are marked from then on."""
    SqliteStore(tmp_path / "new").close()
    _of_version_1(tmp_path)
    store = SqliteStore(tmp_path)
    assert store.slots(1, Window()).kwh.tolist() == [1.5, 1.5, 1.5]
    assert store.fleet(Window()).kwh.tolist() == [3.0, 1.5, 1.5]
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
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        made.append((table, repr([each[:4] for each in columns])))
    connection.close()
    return dict(made)


def _of_version_1(folder: Path) -> None:
    """Make a file as the program before this one made it, with two ships' slots put through its triggers."""
    connection = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(Path(__file__).with_name("sqlite_version_1.sql").read_text("utf-8"))
    connection.execute("PRAGMA user_version=1")
    rows = [(1, 0, 900.0), (1, 1, 300.0), (1, 3, 900.0), (2, 0, 60.0)]
    connection.executemany(
        "INSERT INTO energy (ship, start_s, kwh, covered_s, provisional) VALUES (?, ?, 1.5, ?, 0)",
        [(ship, START_S + 900 * at, covered_s) for ship, at, covered_s in rows],
    )
    connection.executemany(
        "INSERT INTO readings VALUES (?, ?, 6.0, 'kW', 0)",
        [(1, START_US), (1, START_US + 45 * MINUTE_US), (2, START_US)],
    )
    connection.close()


@pytest.mark.parametrize("max_gap_us", [DEFAULT_MAX_GAP_US, 7200 * 10**6])
def test_what_a_file_of_version_2_holds_keeps_its_meaning(tmp_path: Path, max_gap_us: int) -> None:
    """Readings are held power and energy as before, and what of their slots is estimated is found."""
    _of_version_2(tmp_path, PLAIN_ROWS, max_gap_us)
    with closing(SqliteStore(tmp_path)) as store:
        assert_kept(store, max_gap_us)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    _of_version_2(tmp_path / "old", PLAIN_ROWS, max_gap_us)
    for name in ("old", "new"):
        SqliteStore(tmp_path / name).close()
    assert _made_by(tmp_path / "old" / FILE_NAME) == _made_by(tmp_path / "new" / FILE_NAME)


def _of_version_2(folder: Path, rows: list[Reading], max_gap_us: int) -> None:
    """Make a file as the release before this one made it, with readings and their slots."""
    connection = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    connection.executescript(Path(__file__).with_name("sqlite_version_2.sql").read_text("utf-8"))
    connection.execute("PRAGMA user_version=2")
    connection.execute("INSERT INTO pinned VALUES ('POWER_MAX_GAP_S', ?)", (str(max_gap_us // 10**6),))
    connection.executemany(
        "INSERT INTO readings VALUES (?, ?, ?, ?, ?)",
        [(each.ship, each.moment_us, each.value, Kind(each.kind).unit, each.sent_at_us) for each in rows],
    )
    slots = normalize(as_columns(rows), max_gap_us)
    columns = (slots.ship, slots.start_s, slots.kwh, slots.covered_s, slots.provisional)
    connection.executemany(
        "INSERT INTO energy (ship, start_s, kwh, covered_s, provisional) VALUES (?, ?, ?, ?, ?)",
        zip(*(each.tolist() for each in columns), strict=True),
    )
    connection.close()


def _whole(store: SqliteStore) -> list[tuple[int, int, int]]:
    return [(each.ship, each.whole, each.slots) for each in store.ships(-1, 9, (), EVER).ships]


def test_a_file_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    """What it holds counts, and so does what comes, changes and goes from then on."""
    _of_version_1(tmp_path)
    store = SqliteStore(tmp_path)
    assert _whole(store) == [(1, 2, 4), (2, 0, 1)]
    assert store.top_ships(Window(), 9) == [ShipEnergy(1, 4.5, 2100.0), ShipEnergy(2, 1.5, 60.0)]
    put(store, slots_of((1, 1, 1.0, 900.0, False), (2, 0, 1.0, 900.0, False), (1, 0, 1.0, 30.0, False)))
    assert _whole(store) == [(1, 2, 4), (2, 1, 1)]
    put(store, slots_of((1, 3, 0.0, 0.0, False), (2, 1, 1.0, 900.0, False)))
    assert _whole(store) == [(1, 1, 2), (2, 2, 2)]
    store.close()
    again = SqliteStore(tmp_path)
    assert _whole(again) == [(1, 1, 2), (2, 2, 2)]
    again.close()


def test_an_upgraded_file_has_the_tables_of_a_new_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    _of_version_1(tmp_path / "old")
    found = []
    for name in ("old", "new"):
        store = SqliteStore(tmp_path / name)
        connection = store._file.connection()
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"
        ).fetchall()
        columns = [row[1:4] for row in connection.execute("PRAGMA table_info(ship_energy)")]
        found.append((triggers, columns, connection.execute("PRAGMA user_version").fetchone()))
        store.close()
    assert found[0] == found[1]


def test_a_file_whose_roll_ups_triggers_kept_has_none_any_more(tmp_path: Path) -> None:
    """Version 3: left in place, they would count every slot twice."""
    store = SqliteStore(tmp_path)
    put(store, slots_of((1, 0, 1.5, 900.0, False)))
    store.close()
    connection = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    connection.executescript(_TRIGGERS)
    connection.execute("PRAGMA user_version=3")
    connection.close()
    store = SqliteStore(tmp_path)
    put(store, slots_of((1, 0, 2.5, 900.0, False), (1, 1, 2.5, 900.0, False)))
    assert store.fleet(Window()).ships.tolist() == [1, 1]
    assert store.fleet(Window()).kwh.tolist() == [2.5, 2.5]
    store.close()


def test_a_file_of_version_4_gets_covariates(tmp_path: Path) -> None:
    SqliteStore(tmp_path).close()
    connection = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    connection.executescript("DROP TABLE packed_readings; DROP TABLE covariates; PRAGMA user_version=4")
    connection.close()
    store = SqliteStore(tmp_path)
    put_covariates(store, covariates(1, 5, 1.0))
    assert store.covariates(1) == covariates(1, 5, 1.0)
    store.close()


def test_roll_ups_are_rounded_as_the_columns_of_slots_are(tmp_path: Path) -> None:
    """Also halves of a nanowatt-hour: 2 to the power of -13 kWh is 122,070,312.5 of them."""
    store = SqliteStore(tmp_path)
    kwh = [sign * (2.0**-13 + whole) for sign in (1, -1) for whole in (0, 1, 2)] + [
        0.1,
        1 / 3,
        2.0**-14,
        999999.9999999999,
    ]
    put(store, slots_of(*((ship, 0, each, 900 - ship / 7, False) for ship, each in enumerate(kwh))))
    of = "SELECT ship, whole_kwh, rest_nwh, covered_us FROM {} ORDER BY ship"
    execute = store._file.connection().execute
    in_slots = execute(of.format("energy")).fetchall()
    assert [each[2] for each in in_slots[:2]] == [122070313, 122070313]
    assert execute(of.format("ship_energy")).fetchall() == in_slots
    assert execute(of.format("ship_day_energy")).fetchall() == in_slots
    store.close()


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
        store.last_slot_s(1, each)
        store.last_slot_s(None, each)
        store.extent()
    store.ships(-1, 9, (window,), EVER)
    connection.set_trace_callback(None)
    plans = [row[3] for question in asked for row in connection.execute(f"EXPLAIN QUERY PLAN {question}")]
    assert any("SEARCH e " in plan for plan in plans), "the edges of the window are looked up"
    assert not [plan for plan in plans if re.match(r"SCAN (e|energy|ship_day_energy)\b", plan)]
    store.close()
