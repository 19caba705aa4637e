"""First-seen times of batches without a `sent_at`: a resend keeps its first one, so it cannot override a correction.

Where there are several gateways, also what they accepted with a `batch_id`: another batch cannot have the same one.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from shared.domain.clock import now_us
from shared.domain.timestamps import US_PER_S
from shared.runtime.sqlite_files import SqliteFile

FILE_NAME = "arrivals.sqlite"
KEPT_US = 2 * 86_400 * US_PER_S
"""Longer than the day that senders are promised."""
DELETED_BESIDES = 100
"""Old rows that a transaction deletes at most, beyond one for each of its batches: none takes long."""
_VERSION = 1
_SCHEMA = """
CREATE TABLE arrivals (
    key BLOB PRIMARY KEY,
    counts_us INTEGER NOT NULL,
    noted_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX by_age ON arrivals (noted_us);
"""
_DELETE_OLD = (
    "DELETE FROM arrivals WHERE key IN (SELECT key FROM arrivals WHERE noted_us < ? ORDER BY noted_us LIMIT ?)"
)


class Seen(NamedTuple):
    """A batch as it was received now.

    Attributes:
        key: the same for a resend: `first_seen_key`, or `name_key` where `content` is given.
        received_us: when it counts as sent if it is the first, microseconds since 1970.
        content: digest of its content; empty where the key covers it.

    """

    key: bytes
    received_us: int
    content: bytes = b""


def name_key(ship: int, batch_id: UUID) -> bytes:
    """Return the key of all batches of a ship with a `batch_id`, whatever their content is."""
    return ship.to_bytes(8) + batch_id.bytes


def first_seen_key(ship: int, batch_id: UUID, payload: bytes) -> bytes:
    """Return the key of a batch and its resends: a digest of ship, `batch_id` and payload."""
    digest = hashlib.sha256(f"{ship} {batch_id} ".encode())
    digest.update(payload)
    return digest.digest()


class FirstSeenTimes:
    """The first-seen times of at least a day, in a SQLite file; for one thread."""

    def __init__(self, folder: Path, now_us: Callable[[], int] = now_us) -> None:
        """Open `arrivals.sqlite` in a folder, or create it.

        Raises:
            InvalidSettings: the file cannot be used.

        """
        self._file = SqliteFile(folder / FILE_NAME, _SCHEMA, _VERSION)
        self._now_us = now_us

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def first(self, seen: Sequence[Seen]) -> list[int]:
        """Return first-seen times in microseconds since 1970, and record those of new batches.

        `seen` has the batches in the order of arrival. Contents are not looked at: one gateway alone compares them.

        Raises:
            Unavailable: the file cannot be written now; nothing is recorded.

        """
        noted_us = self._now_us()
        found: list[int] = []
        with self._file.transaction() as connection:
            for key, counts_us, _ in seen:
                row = connection.execute("SELECT counts_us FROM arrivals WHERE key = ?", (key,)).fetchone()
                if row is None:
                    connection.execute("INSERT INTO arrivals VALUES (?, ?, ?)", (key, counts_us, noted_us))
                found.append(counts_us if row is None else row[0])
            connection.execute(_DELETE_OLD, (noted_us - KEPT_US, len(seen) + DELETED_BESIDES))
        return found
