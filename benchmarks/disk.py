"""What a reading of every five minutes takes on disk in the embedded store, before and after it is packed."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.load import A_DAY, START_S, STEP_S, offset_s
from benchmarks.rounds import Options
from benchmarks.table import Row
from normalizer_worker.recorder import Recorder
from shared.domain.readings import Kind, Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US
from shared.domain.timestamps import US_PER_S
from shared.store.sqlite import FILE_NAME, SqliteStore
from shared.store.sqlite_packing import FROM_START
from shared.store.sqlite_readings import Place, ReadingTables

WANTED_BYTES = 16
SHIPS = 20
LATEST_US = 2 * US_PER_S
"""The longest time from a reading to its `sent_at`, where each is sent by itself."""
EVER_US = 2**62


def measure(options: Options) -> list[Row]:
    """Measure the pages in use, for all tables and indices; nothing where the store is another one."""
    if not options.database.name.startswith("SQLite"):
        return []
    folder = options.new_place().folder
    return [
        _row(options, folder / "batches", "in batches of a day", is_alone=False),
        _row(options, folder / "alone", "each sent by itself", is_alone=True),
    ]


def _row(options: Options, folder: Path, how: str, *, is_alone: bool) -> Row:
    days = options.size(60, 10)
    _record(folder, days, is_alone=is_alone)
    count = SHIPS * days * A_DAY
    with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None)) as connection:
        before = _bytes_in_use(connection) / count
        _pack(connection)
        after = _bytes_in_use(connection) / count
    return Row(
        f"on disk for a reading older than a week, with its share of slots and roll-ups: {SHIPS} ships x {days} days,"
        f" every five minutes, {how}",
        f"{after:.1f} bytes",
        f"not packed: {before:.1f} bytes",
        after / before,
        f"{WANTED_BYTES} bytes",
        holds=after <= WANTED_BYTES,
        samples={"bytes": [after], "bytes, not packed": [before]},
    )


def _record(folder: Path, days: int, *, is_alone: bool) -> None:
    """Record days of all ships as the worker does: power in tenths of a kW that follows the hour, with some noise."""
    rng, ship = np.random.default_rng(1), np.repeat(np.arange(SHIPS), A_DAY)
    with closing(SqliteStore(folder)) as store:
        recorder = Recorder(store, DEFAULT_MAX_GAP_US)
        for day in tqdm(range(days), desc="storing", unit="day", leave=False):
            since_s = day * A_DAY * STEP_S + np.tile(np.arange(A_DAY) * STEP_S, SHIPS)
            moment_us = (START_S + since_s + offset_s(ship)) * US_PER_S
            value = 800 + 600 * np.sin(since_s / 86_400 * 2 * np.pi + ship) + rng.normal(0, 30, len(ship))
            sent_at_us = np.repeat(moment_us[A_DAY - 1 :: A_DAY] + 123_456, A_DAY)
            if is_alone:
                sent_at_us = moment_us + rng.integers(0, LATEST_US, len(ship))
            kind = np.full(len(ship), Kind.POWER_KW, np.int8)
            recorder.record(Readings(ship, moment_us, value.round(1), kind, sent_at_us))


def _pack(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    tables = ReadingTables(connection)
    place: Place | None = FROM_START
    while place:
        place = tables.pack(place, EVER_US)
    connection.execute("COMMIT")


def _bytes_in_use(connection: sqlite3.Connection) -> int:
    """Return the size of all pages but the free ones, which are used again."""
    count, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((count - free) * size)
