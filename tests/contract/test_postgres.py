"""The store in PostgreSQL keeps the contract, and a few promises of its own."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from normalizer_worker.ledger.first_seen import Seen
from normalizer_worker.ledger.partition_first_seen import PartitionFirstSeen
from normalizer_worker.rule.normalize import normalize
from shared.domain.clock import now_us
from shared.domain.columns import rows
from shared.domain.readings import Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, Window
from shared.domain.timestamps import US_PER_S
from shared.store.postgres.schema import UPGRADES
from shared.store.postgres.store import PARTITIONS, OnePartitionStore, PostgresStore
from tests.support.columns import as_columns
from tests.support.postgres import Postgres
from tests.support.store_contract import DAY_S, START_S, MakeStore, StoreContract, put, slots_of
from tests.support.store_covariates import StoreCovariates
from tests.support.store_edges import StoreEdges
from tests.support.store_ships import EVER, StoreShips
from tests.support.upgraded import PLAIN_ROWS, assert_kept

_NWH, _COVERED_US = "sum(round(kwh::numeric * 10^12))", "sum(round(covered_s * 1e6))::bigint"
_WHOLE = "count(*) FILTER (WHERE covered_s >= 900)"
_ROLL_UPS = f"""
INSERT INTO fences (partition, epoch, owner, taken_at) VALUES (0, 1, 'tests', now());
INSERT INTO fleet_energy (partition, start_s, covered_us, ships, whole_ships, provisional_ships, mark, nwh)
SELECT 0, start_s, {_COVERED_US}, count(*), {_WHOLE}, count(*) FILTER (WHERE provisional), 1, {_NWH}
FROM energy GROUP BY start_s;
INSERT INTO ship_day_energy (partition, day_s, ship, covered_us, mark, nwh)
SELECT 0, start_s - start_s % 86400, ship, {_COVERED_US}, 1, {_NWH} FROM energy GROUP BY 2, 3;
INSERT INTO ship_energy (partition, ship, covered_us, whole_slots, nwh)
SELECT 0, ship, {_COVERED_US}, {_WHOLE}, {_NWH} FROM energy GROUP BY ship;
CREATE TABLE power_schema (version integer NOT NULL);
INSERT INTO power_schema VALUES (1);
"""  # noqa: S608  # the parts are above


class TestPostgresStore(StoreContract, StoreEdges, StoreShips, StoreCovariates):
    """The contract, on databases of their own."""

    @pytest.fixture
    def make_store(self, postgres: Postgres) -> MakeStore:
        """Make stores."""

        def make() -> OnePartitionStore:
            store = OnePartitionStore(postgres.emptied())
            store.check_writing()
            return store

        return make


@pytest.fixture
def store(postgres: Postgres) -> Iterator[OnePartitionStore]:
    with closing(OnePartitionStore(postgres.emptied())) as store:
        store.check_writing()
        yield store


@pytest.mark.parametrize("max_gap_us", [DEFAULT_MAX_GAP_US, 7200 * US_PER_S])
def test_what_tables_of_version_1_hold_keeps_its_meaning(postgres: Postgres, max_gap_us: int) -> None:
    """Readings are held power and energy as before, and what of their slots is estimated is found."""
    url = postgres.create()
    _make_version_1(url, max_gap_us)
    with closing(OnePartitionStore(url)) as store:
        store.check_writing()
        assert_kept(store, max_gap_us)
    new = postgres.create()
    with closing(OnePartitionStore(new)) as store:
        store.check_writing()
    assert _columns(url) == _columns(new)


def test_first_seen_times_of_version_2_are_kept(postgres: Postgres) -> None:
    """They are those of messages over MQTT, whose keys cover their content."""
    url = postgres.create()
    _make_version_1(url, DEFAULT_MAX_GAP_US)
    with psycopg.connect(url) as connection:
        connection.execute(UPGRADES[1])
        connection.execute("UPDATE power_schema SET version = 2")
        connection.execute("INSERT INTO first_seen VALUES (0, 'a', 5, %s)", (now_us(),))
    with closing(PostgresStore(url)) as store:
        store.check_writing()
        first_seen = PartitionFirstSeen(store.partition(0))
        assert first_seen.first([Seen(b"a", 6), Seen(b"b", 7, b"one")]) == [5, 7]
        assert first_seen.first([Seen(b"b", 8, b"another")]) == [None]
    new = postgres.create()
    with closing(PostgresStore(new)) as store:
        store.check_writing()
    assert _columns(url) == _columns(new)


def _make_version_1(url: str, max_gap_us: int) -> None:
    """Make the tables as the release before this one made them, with readings, their slots and sums."""
    slots = normalize(as_columns(PLAIN_ROWS), max_gap_us)
    written = [(each.ship, each.moment_us, each.value, Kind(each.kind).unit, each.sent_at_us) for each in PLAIN_ROWS]
    energy = rows(slots.ship, slots.start_s, slots.kwh, slots.covered_s, slots.provisional)
    pinned = ("POWER_MAX_GAP_S", str(max_gap_us // US_PER_S), PARTITIONS, "1")
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(Path(__file__).with_name("postgres_version_1.sql").read_bytes())
        cursor.execute("INSERT INTO pinned VALUES (%s, %s), (%s, %s)", pinned)
        cursor.execute("INSERT INTO ships SELECT ship, 0 FROM generate_series(1, 3) AS ships (ship)")
        cursor.executemany(
            "INSERT INTO readings (partition, ship, time_us, value, unit, sent_at_us) VALUES (0, %s, %s, %s, %s, %s)",
            written,
        )
        cursor.executemany(
            "INSERT INTO energy (partition, ship, start_s, kwh, covered_s, provisional) VALUES (0, %s, %s, %s, %s, %s)",
            list(energy),
        )
        cursor.execute(_ROLL_UPS)


def _columns(url: str) -> list[tuple[Any, ...]]:
    """Return what the tables are made of."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1, 2"
        )
        checks = connection.execute("SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2")
        return found.fetchall() + checks.fetchall()


def test_a_sum_beyond_64_bits_does_not_stop_the_store(store: OnePartitionStore) -> None:
    """Nor does one slot beyond them; all sums stay exact."""
    for ship in range(30):
        put(store, slots_of((ship, 0, 1e18, 900.0, False)))
    assert store.fleet(Window()).kwh.tolist() == [3e19]
    put(store, slots_of((0, 0, 3e25, 900.0, False), (1, 0, 1.0, 900.0, False)))
    put(store, slots_of((0, 0, 0.0, 0.0, False)))
    assert store.fleet(Window()).kwh.tolist() == [2.8e19]
    put(store, slots_of(*[(ship, 0, 0.0, 0.0, False) for ship in range(2, 30)]))
    assert store.fleet(Window()).kwh.tolist() == [1.0]


def test_ships_of_many_partitions_are_added_up(postgres: Postgres) -> None:
    with closing(PostgresStore(postgres.emptied())) as store:
        for number in (0, 5, 63):
            partition = store.partition(number)
            with partition.transaction():
                slots = slots_of(*[(number, at, 1.0 + number, 900.0, at == 1) for at in range(2)])
                partition.put_slots(slots, slots.emptied())
        fleet = store.fleet(Window())
        assert fleet.kwh.tolist() == [71.0, 71.0]
        assert fleet.ships.tolist() == [3, 3]
        assert fleet.provisional.tolist() == [False, True]
        for window in (Window(), Window(START_S, START_S + 900), Window(START_S, START_S + DAY_S)):
            assert [each.ship for each in store.top_ships(window, 2)] == [63, 5]
        assert store.extent() == Window(START_S, START_S + 1800)
        assert store.slots(5, Window()).kwh.tolist() == [6.0, 6.0]


def test_no_question_reads_all_slots_of_all_ships(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slots of a window are found by their ship and start, and sums by their day or start in each partition.

    Of tables that are as small as here PostgreSQL reads all: it is told not to where it need not. The database is a new
    one, so that nothing is known of its tables' sizes.
    """
    store = OnePartitionStore(postgres.create())
    store.check_writing()
    asked: list[tuple[str, Sequence[Any]]] = []
    answer = store._reads.rows

    def rows(query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        asked.append((query, parameters))
        return answer(query, parameters)

    monkeypatch.setattr(store._reads, "rows", rows)
    window = Window(START_S + 900, START_S + 30 * DAY_S + 900)
    for each in (Window(), window):
        store.slots(1, each)
        store.fleet(each)
        store.top_ships(each, 3)
        for ship in (1, None):
            store.first_slot_s(ship, each)
            store.last_slot_s(ship, each)
            store.version(ship, each)
    store.readings(1, 0, EVER, 9)
    store.extent()
    store.ships(-1, 9, (window,), EVER)
    store._kwh(1, 9, window)
    for query, parameters in asked:
        plan = _plan(store, query, parameters)
        assert not re.findall(r"Seq Scan on (?:energy|readings|fleet_energy|ship_day_energy)\b", plan), plan
        for table in ("energy", "readings", "fleet_energy", "ship_day_energy"):
            for condition in re.findall(rf"Scan using {table}_pkey .*\n\s+Index Cond: (.*)", plan):
                assert "partition = " in condition, plan
    store.close()


def _plan(store: OnePartitionStore, query: str, parameters: Sequence[Any]) -> str:
    connection = store._reads._server.connect()
    with closing(connection):
        for other in ("seqscan", "hashjoin", "mergejoin"):
            connection.execute(f"SET enable_{other} = off")
        return "\n".join(row[0] for row in connection.execute(f"EXPLAIN {query}", parameters).fetchall())
