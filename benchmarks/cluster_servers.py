"""A cluster's store on RabbitMQ and PostgreSQL, which are started for it, and bare PostgreSQL as its baseline."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.databases import Database, Filled, Goals, Place
from benchmarks.encoders import SlotRows
from benchmarks.load import A_DAY, Batch, readings_of
from benchmarks.postgresql import Poller
from normalizer_worker.load import Limits
from normalizer_worker.rule.normalize import normalize
from power_cli.declaring import Declaring
from power_cli.management import ManagementApi
from shared.domain.columns import I64
from shared.domain.readings import UNITS, Readings
from shared.domain.slots import Slots
from shared.runtime.management_url import parse
from shared.store.postgres.arrays import register
from shared.store.postgres.partition import PostgresPartition
from shared.store.postgres.store import PARTITIONS, PostgresStore
from tests.support.postgres import Postgres
from tests.support.rabbitmq import RabbitMq

PARTITION_COUNT = 64
NODES = 1
WORKERS = 2
PUT_READINGS = """
INSERT INTO readings (partition, ship, time_us, value, unit, sent_at_us)
SELECT 0, u.ship, u.time_us, u.value, u.unit, 0 FROM unnest(%s, %s, %s, %s::text[]) AS u (ship, time_us, value, unit)
ON CONFLICT (partition, ship, time_us)
DO UPDATE SET value = EXCLUDED.value, unit = EXCLUDED.unit, sent_at_us = EXCLUDED.sent_at_us
"""
PUT_SLOTS = """
INSERT INTO energy (partition, ship, start_s, kwh, covered_s, provisional)
SELECT 0, u.* FROM unnest(%s, %s, %s, %s, %s) AS u (ship, start_s, kwh, covered_s, provisional)
ON CONFLICT (partition, ship, start_s)
DO UPDATE SET kwh = EXCLUDED.kwh, covered_s = EXCLUDED.covered_s, provisional = EXCLUDED.provisional
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """The broker, the database server, and the broker's management API."""

    rabbitmq: RabbitMq
    postgres: Postgres
    api: ManagementApi

    def log_bytes(self) -> int:
        """Return how much PostgreSQL has written to its write-ahead log."""
        return int(self.postgres.run("SELECT pg_current_wal_lsn() - '0/0'")[0][0])


@contextmanager
def cluster_servers(folder: Path) -> Iterator[Servers]:
    """Start RabbitMQ and PostgreSQL, and declare what a cluster needs."""
    rabbitmq, postgres = RabbitMq(folder / "rabbitmq", NODES), Postgres()
    with ExitStack() as stops:
        for server in (rabbitmq, postgres):
            stops.callback(server.stop)
            server.start()
        api = ManagementApi(parse(rabbitmq.url("http")))
        Declaring(api).topology(PARTITION_COUNT)
        yield Servers(rabbitmq, postgres, api)


def cluster_database(servers: Servers) -> Database:
    """Return PostgreSQL with a database for each store; all of them use the same queues, one after another."""
    goals = Goals(
        mqtt_per_s=20_000,
        http_per_s=15_000,
        share=0.4,
        year_ms=250,
        fleet_ms=300,
        top_ms=300,
        page_ms=150,
        ships_ms=300,
        top_of_month=True,
        growth=None,
        top_growth=None,
    )
    (row,) = servers.postgres.run("SHOW server_version")
    version = servers.api.get("/overview")["rabbitmq_version"]
    name = f"PostgreSQL {row[0].split()[0]}, RabbitMQ {version}"
    return Database(name, goals, lambda folder: cluster_place(servers, folder))


def cluster_place(servers: Servers, folder: Path, workers: int = WORKERS) -> "ClusterPlace":
    """Return the storage of one service."""
    url = servers.postgres.create()
    environ = {
        "POWER_STORE_URL": url,
        "POWER_PARTITIONS": str(PARTITION_COUNT),
        "POWER_BROKER_URL": servers.rabbitmq.url("mqtt"),
        "POWER_AMQP_URL": servers.rabbitmq.url("amqp"),
    }
    mqtt_port = servers.rabbitmq.nodes[0].mqtt_port
    return ClusterPlace(folder, environ, lambda: Poller(url), lambda: _BareClient(url), workers, mqtt_port)


@dataclass(frozen=True, slots=True)
class ClusterPlace(Place):
    """Its services share the broker."""

    def open_to_fill(self) -> Filled:
        """See `Place`."""
        return _AllPartitions(PostgresStore(self.environ["POWER_STORE_URL"]))


class _AllPartitions:
    """Fills a store as workers do, but for the broker's hash: ships are dealt out in turn."""

    def __init__(self, store: PostgresStore) -> None:
        store.pinned(PARTITIONS, str(PARTITION_COUNT))
        self._store = store
        self._partitions = [store.partition(number) for number in range(PARTITION_COUNT)]
        self.transaction = nullcontext
        self.close = store.close

    def put_readings(self, readings: Readings) -> None:
        for partition, is_its in self._dealt(readings.ship):
            with partition.transaction():
                partition.put_readings(readings[is_its])

    def put_slots(self, slots: Slots, was: Slots) -> None:
        for partition, is_its in self._dealt(slots.ship):
            with partition.transaction():
                partition.put_slots(slots[is_its], was[is_its])

    def _dealt(self, ship: I64) -> Iterator[tuple[PostgresPartition, Any]]:
        for number, partition in enumerate(self._partitions):
            is_its = ship % PARTITION_COUNT == number
            if is_its.any():
                yield partition, is_its


class _BareClient:
    """Uses the tables of the store, without its roll-ups and fences."""

    writes = "bare INSERT … ON CONFLICT of the same readings and slots"
    reads = "bare SELECT"

    def __init__(self, url: str) -> None:
        store = PostgresStore(url)
        store.check_writing()
        store.close()
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        register(self._connection)

    def close(self) -> None:
        self._connection.close()

    def year(self) -> SlotRows:
        rows = self._connection.execute("SELECT start_s, kwh FROM energy WHERE partition = 0 AND ship = 0 ORDER BY 1")
        return rows.fetchall()

    def prepared(self, batches: Sequence[Batch]) -> Callable[[], None]:
        """Use transactions as large as the worker's, on one connection."""
        per_transaction = max(Limits().readings // A_DAY, 1)
        starts = range(0, len(batches), per_transaction)
        transactions = [_columns(batches[i : i + per_transaction]) for i in starts]

        def write() -> None:
            for readings, slots in transactions:
                with self._connection.transaction():
                    self._connection.execute(PUT_READINGS, readings, binary=True)
                    self._connection.execute(PUT_SLOTS, slots, binary=True)

        return write


def _columns(batches: Sequence[Batch]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the columns of batches in the two tables, readings and slots."""
    readings = readings_of(batches)
    slots = normalize(readings)
    return (
        (readings.ship, readings.moment_us, readings.value, UNITS[readings.kind].tolist()),
        (slots.ship, slots.start_s, slots.kwh, slots.covered_s, slots.provisional),
    )


@dataclass(slots=True)
class Waits:
    """What the database's busy connections waited for, in samples."""

    url: str
    seen: dict[str, int] = field(default_factory=dict)

    def sample(self, is_over: Callable[[], bool], pause_s: float = 0.1) -> None:
        """Look again and again."""
        query = """
        SELECT coalesce(wait_event_type || ' ' || wait_event, 'works'), count(*) FROM pg_stat_activity
        WHERE state = 'active' AND application_name = 'power' AND backend_type = 'client backend' GROUP BY 1
        """
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not is_over():
                for kind, count in connection.execute(query).fetchall():
                    self.seen[kind] = self.seen.get(kind, 0) + count
                time.sleep(pause_s)  # the rate of the samples

    def share(self, kind: str) -> float:
        """Return the share of a kind, such as Lock: a row or the end of a table, which another connection has."""
        found = sum(count for what, count in self.seen.items() if what.partition(" ")[0] == kind)
        return found / (sum(self.seen.values()) or 1)
