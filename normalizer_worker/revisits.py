"""Readings that were stored while others may have been writing: kept in a file, to be recorded once more a while later.

Where the database has no transactions, a write that another worker (or one that was killed) has prepared may arrive
after ours, and undo it. Once that can no longer happen, whatever has happened is put right. See
docs/decisions/010-influxdb.md.
"""

import io
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np

from shared.readings import Readings
from shared.sqlite_files import SqliteFile

AFTER_S = 300.0
"""By then what another has prepared without our readings has arrived, or never will (`SETTLED_S` of the store)."""
FILE_NAME = "revisits.sqlite"
_VERSION = 1
_SCHEMA = "CREATE TABLE revisits (id INTEGER PRIMARY KEY, due_s REAL NOT NULL, readings BLOB NOT NULL) STRICT;"


class Revisits:
    """What is to be recorded once more, durably; safe to use from one thread."""

    def __init__(self, folder: Path, now_s: Callable[[], float] = time.time) -> None:
        """Open the file in a folder, and make it where it is missing.

        Raises:
            InvalidSettings: it cannot be used.

        """
        self._file = SqliteFile(folder / FILE_NAME, _SCHEMA, _VERSION)
        self._now_s = now_s

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(self, readings: Readings) -> None:
        """Keep readings until they are `done`.

        Raises:
            Unavailable: the file cannot be written.

        """
        packed = io.BytesIO()
        np.savez(packed, **{each.name: getattr(readings, each.name) for each in fields(readings)})
        with self._file.transaction() as connection:
            due_s = self._now_s() + AFTER_S
            connection.execute("INSERT INTO revisits (due_s, readings) VALUES (?, ?)", (due_s, packed.getvalue()))

    def due(self) -> tuple[int, Readings] | None:
        """Give the number and the readings of one whose time has come."""
        with self._file.errors():
            # Due is also what lies further ahead than anything is ever put: the clock was set back.
            now_s = self._now_s()
            row = (
                self._file.connection()
                .execute(
                    "SELECT id, readings FROM revisits WHERE due_s <= ? OR due_s > ? LIMIT 1", (now_s, now_s + AFTER_S)
                )
                .fetchone()
            )
        if row is None:
            return None
        with np.load(io.BytesIO(row[1])) as columns:
            return row[0], Readings(**columns)

    def done(self, number: int) -> None:
        """Forget one.

        Raises:
            Unavailable: the file cannot be written.

        """
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM revisits WHERE id = ?", (number,))
