"""Batches of a day from many ships, over MQTT and over HTTP, until stored; beside bare SQLite upserts."""

import itertools
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from normalizer_worker.normalize import normalize
from normalizer_worker.worker import Limits
from power_cli.bench.load import A_DAY, HTTP_CONNECTIONS, Batch, Send, generator, post, publish
from power_cli.bench.rounds import Options, in_turn
from power_cli.bench.service import Service
from power_cli.bench.table import Row
from shared.batch import columns, decode
from shared.store.sqlite import FILE_NAME, SqliteStore

WANTED_MQTT_PER_S = 100_000
WANTED_HTTP_PER_S = 60_000
PUT_READINGS = "INSERT OR REPLACE INTO readings (ship, time_us, value, unit, sent_at_us) VALUES (?, ?, ?, ?, ?)"
PUT_SLOTS = "INSERT OR REPLACE INTO energy (ship, start_s, kwh, covered_s, provisional) VALUES (?, ?, ?, ?, ?)"

Rows = list[tuple[Any, ...]]


def measure(options: Options) -> list[Row]:
    """Measure readings per second, over MQTT, over HTTP, and into bare SQLite."""
    ships = options.size(1000, 200)
    days, bare_days = itertools.count(), itertools.count()
    bare = _bare_file(options.new_folder())
    with Service(options.new_folder()) as service:

        def sent(send: Send, port: int) -> float:
            return _sent(service, send, port, _a_day(ships, next(days)))

        samples = in_turn(
            options.size(5, 2),
            lambda: sent(publish, service.mqtt_port),
            lambda: sent(post, service.port),
            lambda: _upserted(bare, _a_day(ships, next(bare_days))),
        )
    bare.close()
    return _rows(ships, *samples)


def _rows(ships: int, mqtt: list[float], http: list[float], sqlite: list[float]) -> list[Row]:
    mqtt_rate, http_rate, bare_rate = median(mqtt), median(http), median(sqlite)
    return [
        Row(
            f"batches of {A_DAY} from {ships:,} ships over MQTT, until stored",
            f"{mqtt_rate:,.0f} readings/s",
            f"bare SQLite upserts of the same readings and slots: {bare_rate:,.0f} readings/s",
            mqtt_rate / bare_rate,
            f"{WANTED_MQTT_PER_S:,} readings/s",
            holds=mqtt_rate >= WANTED_MQTT_PER_S,
            samples={"readings/s": mqtt, "bare SQLite readings/s": sqlite},
        ),
        Row(
            f"the same over HTTP POST, {HTTP_CONNECTIONS} connections",
            f"{http_rate:,.0f} readings/s",
            f"the same over MQTT: {mqtt_rate:,.0f} readings/s",
            http_rate / mqtt_rate,
            f"{WANTED_HTTP_PER_S:,} readings/s",
            holds=http_rate >= WANTED_HTTP_PER_S,
            samples={"readings/s": http, "over MQTT readings/s": mqtt},
        ),
    ]


def _a_day(ships: int, day: int) -> list[Batch]:
    return [Batch(ship, day * A_DAY) for ship in range(ships)]


def _sent(service: Service, send: Send, port: int, batches: Sequence[Batch]) -> float:
    """Give the rate from the first byte sent until the last batch is visible; a batch is stored whole or not at all."""
    with generator(send, port, batches) as start:
        began_s = time.perf_counter()
        start()
        service.await_stored((batch.ship, batch.last_us) for batch in reversed(batches))
        took_s = time.perf_counter() - began_s
    return sum(batch.readings for batch in batches) / took_s


def _bare_file(folder: Path) -> sqlite3.Connection:
    """Make the tables of the store, without what keeps its roll-ups."""
    SqliteStore(folder).close()
    connection = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')
    return connection


def _upserted(connection: sqlite3.Connection, batches: Sequence[Batch]) -> float:
    """Give the rate of bare upserts of the same readings and slots, in transactions as large as the worker's."""
    per_transaction = max(Limits().readings // A_DAY, 1)
    starts = range(0, len(batches), per_transaction)
    transactions = [_table_rows(batches[i : i + per_transaction]) for i in starts]
    began_s = time.perf_counter()
    for readings, slots in transactions:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(PUT_READINGS, readings)
        connection.executemany(PUT_SLOTS, slots)
        connection.execute("COMMIT")
    return sum(batch.readings for batch in batches) / (time.perf_counter() - began_s)


def _table_rows(batches: Sequence[Batch]) -> tuple[Rows, Rows]:
    """Give what the two tables will hold of batches, as the rows that SQLite takes."""
    readings = columns([decode(batch.payload())._replace(sent_at_us=0) for batch in batches])
    slots = normalize(readings)
    moments, values = readings.moment_us.tolist(), readings.value.tolist()
    of_slots = (slots.ship, slots.start_s, slots.kwh, slots.covered_s, slots.provisional)
    return (
        [(ship, *row, "kW", 0) for ship, *row in zip(readings.ship.tolist(), moments, values, strict=True)],
        list(zip(*(column.tolist() for column in of_slots), strict=True)),
    )
