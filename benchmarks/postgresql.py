"""The PostgreSQL store, and bare statements to the same server as its baseline."""

import itertools
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.databases import Database, Goals, Place
from benchmarks.encoders import SlotRows
from benchmarks.load import A_DAY, Batch, readings_of
from benchmarks.service import free_port
from normalizer_worker.load import Limits
from normalizer_worker.rule.normalize import normalize
from power_cli import postgresql
from power_cli.up import HOST
from shared.store.postgres.arrays import register
from shared.store.postgres.partition import PUT_READINGS, PUT_SLOTS
from shared.store.postgres.store import OnePartitionStore


@contextmanager
def postgresql_database() -> Iterator[Database]:
    """Use the server at POWER_STORE_URL, or start one; databases created here are dropped at the end.

    A store is a database, which the user must be allowed to create.

    Raises:
        Unavailable: the server does not answer, or does not start.

    """
    goals = Goals(
        mqtt_per_s=40_000,
        http_per_s=40_000,
        share=0.4,
        year_ms=250,
        fleet_ms=300,
        top_ms=300,
        page_ms=150,
        ships_ms=700,
        top_of_month=True,
        growth=None,
        top_growth=None,
    )
    with postgresql_url() as url:
        names: list[str] = []
        with psycopg.connect(url, autocommit=True) as connection:
            version = connection.info.server_version // 10_000

            def new_place(folder: Path) -> Place:
                names.append(f"power_bench_{secrets.token_hex(4)}")
                connection.execute(f"CREATE DATABASE {names[-1]}")
                return _place(folder, psycopg.conninfo.make_conninfo(url, dbname=names[-1]))

            try:
                yield Database(f"PostgreSQL {version}", goals, new_place)
            finally:
                for name in names:
                    connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def postgresql_url() -> AbstractContextManager[str]:
    """Return the address of the server at POWER_STORE_URL, or of one that is started.

    Raises:
        Unavailable: the server does not start; raised on entering.

    """
    given = os.environ.get("POWER_STORE_URL")
    return nullcontext(given) if given else postgresql.running(HOST, free_port())


def _place(folder: Path, conninfo: str) -> Place:
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    user, password, host, port, name = (parts[each] for each in ("user", "password", "host", "port", "dbname"))
    url = f"postgresql://{user}:{password}@{host}:{port}/{name}"
    environ = {"POWER_STORE": "postgresql", "POWER_STORE_URL": url, "POWER_DATA_DIR": str(folder)}
    return Place(folder, environ, lambda: Poller(url), lambda: _BareClient(url))


# Not as a join: on tables without statistics its plan reads all readings, which the measurement would be billed for.
_IS_THERE = """
SELECT 1 FROM readings
WHERE partition = (SELECT partition FROM ships WHERE ship = %s) AND ship = %s AND time_us = %s
"""


class Poller:
    """Looks whether batches are stored, whatever their ships' partitions."""

    pause_s = 0.005

    def __init__(self, url: str) -> None:
        """Connect."""
        self._connection = psycopg.connect(url, autocommit=True, prepare_threshold=0)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def missing(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Check one batch at a time; a transaction becomes visible as a whole."""
        return list(itertools.dropwhile(self._is_there, batches))

    def _is_there(self, batch: Batch) -> bool:
        return self._connection.execute(_IS_THERE, (batch.ship, batch.ship, batch.last_us)).fetchone() is not None


class _BareClient:
    """Uses the tables of the store, without fence and roll-ups, by the same statements."""

    writes = "bare INSERT … ON CONFLICT of the same readings and slots, as arrays"
    reads = "bare SELECT"

    def __init__(self, url: str) -> None:
        store = OnePartitionStore(url)
        store.check_writing()
        store.close()
        self._connection = psycopg.connect(url, autocommit=True)
        register(self._connection)

    def close(self) -> None:
        self._connection.close()

    def year(self) -> SlotRows:
        query = "SELECT start_s, kwh FROM energy WHERE partition = 0 AND ship = 0 ORDER BY start_s"
        return self._connection.execute(query).fetchall()

    def prepared(self, batches: Sequence[Batch]) -> Callable[[], None]:
        """Use transactions as large as the worker's."""
        per_transaction = max(Limits().readings // A_DAY, 1)
        starts = range(0, len(batches), per_transaction)
        transactions = [_columns(batches[i : i + per_transaction]) for i in starts]

        def write() -> None:
            for readings, slots in transactions:
                with self._connection.transaction():
                    self._connection.execute(PUT_READINGS, readings)
                    self._connection.execute(PUT_SLOTS, slots)

        return write


def _columns(batches: Sequence[Batch]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the parameters of both statements for batches."""
    readings = readings_of(batches)
    slots = normalize(readings)
    return (
        (0, readings.ship, readings.moment_us, readings.value, readings.kind, readings.sent_at_us),
        (0, slots.ship, slots.start_s, slots.kwh, slots.covered_s, slots.provisional),
    )
