"""Readings that were stored while others may have been writing: kept in a file, to be recorded once more a while later.

Where the database has no transactions, a write that another worker (or one that was killed) has prepared may arrive
after ours, and undo it. Once that can no longer happen, whatever has happened is put right. See
docs/decisions/010-influxdb.md.
"""

import io
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import numpy as np

from shared.domain.readings import Readings
from shared.runtime.sqlite_files import SqliteFile

AFTER_S = 300.0
"""By then what another has prepared without our readings has arrived, or never will (`SETTLED_S` of the store)."""
AT_ONCE = 150_000
"""Maximum cost of what is recorded once more at a time (see `recorder.costs`; a dense reading costs little over 1)."""
FILE_NAME = "revisits.sqlite"
_VERSION = 1
_SCHEMA = "CREATE TABLE revisits (id INTEGER PRIMARY KEY, due_s REAL NOT NULL, readings BLOB NOT NULL) STRICT;"
_OLDEST = "SELECT id, due_s, readings FROM revisits ORDER BY id"


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

    def due(self, cost_of: Callable[[Readings], int] = len) -> tuple[int, Readings] | None:
        """Give the readings of the first ones whose time has come, `AT_ONCE` or of one only, and the last one's number.

        They become due in the order in which they were put, and what is not due is not read: there may be many.
        """
        parts, last, left = list[Readings](), 0, AT_ONCE
        now_s = self._now_s()
        with self._file.errors(), self._file.reading() as connection, closing(connection.execute(_OLDEST)) as rows:
            for number, due_s, packed in rows:
                # Due is also what lies further ahead than anything is ever put: the clock was set back.
                if now_s < due_s <= now_s + AFTER_S:
                    break
                with np.load(io.BytesIO(packed)) as columns:
                    part = Readings(**columns)
                left -= cost_of(part)
                if parts and left < 0:
                    break
                parts.append(part)
                last = number
        return (last, Readings.concat(parts)) if parts else None

    def done(self, number: int) -> None:
        """Forget one, and all that were put before it.

        Raises:
            Unavailable: the file cannot be written.

        """
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM revisits WHERE id <= ?", (number,))
