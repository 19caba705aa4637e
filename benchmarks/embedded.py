"""The embedded store (SQLite), and bare SQLite as its baseline."""

import itertools
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.databases import Database, Goals, Place
from benchmarks.encoders import SlotRows
from benchmarks.load import A_DAY, Batch, readings_of
from normalizer_worker.load import Limits
from normalizer_worker.rule.normalize import normalize
from shared.store.sqlite import FILE_NAME, SqliteStore

PUT_READINGS = "INSERT OR REPLACE INTO readings (ship, time_us, value, unit, sent_at_us) VALUES (?, ?, ?, ?, ?)"
PUT_SLOTS = "INSERT OR REPLACE INTO energy (ship, start_s, kwh, covered_s, provisional) VALUES (?, ?, ?, ?, ?)"
IS_THERE = """
SELECT 1 FROM readings WHERE ship = :ship AND time_us = :time_us
UNION ALL SELECT 1 FROM packed_readings WHERE ship = :ship AND :time_us BETWEEN first_us AND last_us
"""

Rows = list[tuple[Any, ...]]


def embedded_database() -> Database:
    """Return SQLite, with one file per store."""
    goals = Goals(
        mqtt_per_s=100_000,
        http_per_s=60_000,
        share=0,
        year_ms=150,
        fleet_ms=300,
        top_ms=40,
        page_ms=30,
        ships_ms=300,
        top_of_month=False,
        growth=1.5,
        top_growth=1.5,
    )
    return Database(f"SQLite {sqlite3.sqlite_version}", goals, _new_place)


def _new_place(folder: Path) -> Place:
    environ = {"POWER_STORE": "embedded", "POWER_DATA_DIR": str(folder)}
    return Place(folder, environ, lambda: _Poller(folder), lambda: _BareClient(folder))


class _Poller:
    pause_s = 0.005

    def __init__(self, folder: Path) -> None:
        self._file = sqlite3.connect(f"file:{folder / FILE_NAME}?mode=ro", uri=True, isolation_level=None)

    def close(self) -> None:
        self._file.close()

    def missing(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Check one batch at a time; a transaction becomes visible as a whole."""
        return list(itertools.dropwhile(self._is_there, batches))

    def _is_there(self, batch: Batch) -> bool:
        key = {"ship": batch.ship, "time_us": batch.last_us}
        return self._file.execute(IS_THERE, key).fetchone() is not None


class _BareClient:
    """Uses the tables of the store, without its roll-ups."""

    writes = "bare SQLite upserts of the same readings and slots"
    reads = "bare SQLite SELECT"

    def __init__(self, folder: Path) -> None:
        SqliteStore(folder).close()
        self._connection = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
        self._connection.execute("PRAGMA synchronous=FULL")

    def close(self) -> None:
        self._connection.close()

    def year(self) -> SlotRows:
        return self._connection.execute("SELECT start_s, kwh FROM energy WHERE ship = 0 ORDER BY start_s").fetchall()

    def prepared(self, batches: Sequence[Batch]) -> Callable[[], None]:
        """Use transactions as large as the worker's."""
        per_transaction = max(Limits().readings // A_DAY, 1)
        starts = range(0, len(batches), per_transaction)
        transactions = [_table_rows(batches[i : i + per_transaction]) for i in starts]

        def write() -> None:
            for readings, slots in transactions:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(PUT_READINGS, readings)
                self._connection.executemany(PUT_SLOTS, slots)
                self._connection.execute("COMMIT")

        return write


def _table_rows(batches: Sequence[Batch]) -> tuple[Rows, Rows]:
    """Return the rows of batches in the two tables, readings and slots."""
    readings = readings_of(batches)
    slots = normalize(readings)
    moments, values = readings.moment_us.tolist(), readings.value.tolist()
    of_slots = (slots.ship, slots.start_s, slots.kwh, slots.covered_s, slots.provisional)
    return (
        [(ship, *row, "kW", 0) for ship, *row in zip(readings.ship.tolist(), moments, values, strict=True)],
        list(zip(*(column.tolist() for column in of_slots), strict=True)),
    )
