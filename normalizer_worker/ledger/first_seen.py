"""When batches without a `sent_at` came first: a repeat of one is as old as it was, and undoes no later correction."""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

from shared.domain.timestamps import US_PER_S
from shared.runtime.sqlite_files import SqliteFile

FILE_NAME = "arrivals.sqlite"
KEPT_US = 2 * 86_400 * US_PER_S
"""Longer than the day for which a sender may rely on it."""
FORGOTTEN_BESIDES = 100
"""For every new one so many at most, and one more, are forgotten that are old: the file shrinks as it grew."""
_VERSION = 1
_SCHEMA = """
CREATE TABLE arrivals (
    key BLOB PRIMARY KEY,
    counts_us INTEGER NOT NULL,
    noted_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX by_age ON arrivals (noted_us);
"""
_FORGET = "DELETE FROM arrivals WHERE key IN (SELECT key FROM arrivals WHERE noted_us < ? ORDER BY noted_us LIMIT ?)"


def arrival_key(ship: int, batch_id: UUID, payload: bytes) -> bytes:
    """Give what a repeat has in common with what it repeats: ship, `batch_id` and every byte of the payload."""
    digest = hashlib.sha256(f"{ship} {batch_id} ".encode())
    digest.update(payload)
    return digest.digest()


class Arrivals:
    """The arrivals of at least a day, durably; safe to use from one thread."""

    def __init__(self, folder: Path, now_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        """Open `arrivals.sqlite` in a folder, and make it where it is missing.

        Raises:
            InvalidSettings: the file cannot be used.

        """
        self._file = SqliteFile(folder / FILE_NAME, _SCHEMA, _VERSION)
        self._now_us = now_us

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def first(self, arrivals: Sequence[tuple[bytes, int]]) -> list[int]:
        """Give the moments that count, and remember those that are new.

        Args:
            arrivals: of each its key, and the moment that counts if it has not come before; in the order in which they
                came.

        Returns:
            The moment of each, microseconds since 1970: its own, or that of the first with its key.

        Raises:
            Unavailable: the file cannot be written now; nothing was remembered.

        """
        noted_us = self._now_us()
        found: list[int] = []
        with self._file.transaction() as connection:
            for key, counts_us in arrivals:
                row = connection.execute("SELECT counts_us FROM arrivals WHERE key = ?", (key,)).fetchone()
                if row is None:
                    connection.execute("INSERT INTO arrivals VALUES (?, ?, ?)", (key, counts_us, noted_us))
                found.append(counts_us if row is None else row[0])
            connection.execute(_FORGET, (noted_us - KEPT_US, len(arrivals) + FORGOTTEN_BESIDES))
        return found
