"""The dead letters in their SQLite file: limited in number and size, by ship and in all."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from sqlite3 import Connection
from typing import Any, NamedTuple

from normalizer_worker.ledger.dead_letter import MAX_PAYLOAD_BYTES, DeadLetter
from shared.contract.topics import ship_of
from shared.domain.errors import Problem
from shared.runtime.sqlite_files import SqliteFile

FILE_NAME = "dead-letters.sqlite"
LETTER_BYTES = 512
"""Bytes that a letter counts besides its texts and payload."""
OLD_AT_ONCE = 100
"""How many letters of a version 1 file are converted in one transaction."""
BUSY_S = 1.0
"""How long the worker waits for another process that is writing, before it goes on with other messages."""
NO_SHIP = -1
"""Stands for all topics without a ship."""
_ALL = -2
_VERSION = 2
_SCHEMA = """
CREATE TABLE dead_letters (
    digest BLOB PRIMARY KEY,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    payload_bytes INTEGER NOT NULL,
    reason TEXT NOT NULL,
    problems TEXT NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    times INTEGER NOT NULL,
    ship INTEGER NOT NULL,
    kept_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX letters_by_last ON dead_letters (last_us DESC, digest);
CREATE INDEX letters_by_ship ON dead_letters (ship, last_us, digest);
CREATE TABLE totals (ship INTEGER PRIMARY KEY, letters INTEGER NOT NULL, kept_bytes INTEGER NOT NULL) STRICT;
CREATE TRIGGER letter_added AFTER INSERT ON dead_letters BEGIN
    INSERT INTO totals VALUES (new.ship, 1, new.kept_bytes), (-2, 1, new.kept_bytes)
    ON CONFLICT DO UPDATE SET letters = letters + 1, kept_bytes = kept_bytes + excluded.kept_bytes;
END;
CREATE TRIGGER letter_removed AFTER DELETE ON dead_letters BEGIN
    UPDATE totals SET letters = letters - 1, kept_bytes = kept_bytes - old.kept_bytes WHERE ship IN (old.ship, -2);
    DELETE FROM totals WHERE ship = old.ship AND letters = 0;
END;
"""
"""In `totals` the ship -2 stands for all ships."""
_FROM_1 = f"ALTER TABLE dead_letters RENAME TO old_letters;\nDROP INDEX IF EXISTS dead_letters_by_last;\n{_SCHEMA}"
"""`tidy` converts the letters, a few at a time: there may be very many."""
COLUMNS = ", ".join(DeadLetter.__slots__)
"""Those of a letter have the names and the order of its members."""
_KEEP = f"""
INSERT INTO dead_letters ({COLUMNS}, ship, kept_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    first_us = min(first_us, excluded.first_us),
    last_us = max(last_us, excluded.last_us),
    times = times + excluded.times
"""  # noqa: S608  # put together from constants
_NEWEST = f"""
SELECT {COLUMNS.replace("payload", "x''", 1)}
FROM dead_letters ORDER BY last_us DESC, digest LIMIT ?
"""  # noqa: S608  # put together from constants
_OLD = f"""
SELECT
    topic, substr(payload, 1, {MAX_PAYLOAD_BYTES}), length(payload), reason, problems, first_us, last_us, times, digest
FROM old_letters ORDER BY digest LIMIT ?
"""  # noqa: S608  # put together from constants


class Bounds(NamedTuple):
    """How much is kept. Beyond that, the letters that were received the longest ago are deleted."""

    letters_of_ship: int = 1000
    bytes_of_ship: int = 16 * 1024 * 1024
    bytes_of_all: int = 256 * 1024 * 1024


class DeadLetters:
    """The dead letters of one data folder. A message that is received again is only counted.

    Every method may raise `Unavailable`: the file cannot be read or written now, and nothing is changed.
    """

    def __init__(self, folder: Path, bounds: Bounds = Bounds()) -> None:  # noqa: B008  # it cannot be changed
        """Open `dead-letters.sqlite` in a folder, or create it.

        Raises:
            InvalidSettings: the file cannot be used.

        """
        upgrades = {1: _FROM_1}
        path = folder / FILE_NAME
        self._file = SqliteFile(path, _SCHEMA, _VERSION, upgrades=upgrades, cache_kib=1024, busy_s=BUSY_S)
        self._bounds = bounds
        with self._file.errors():
            old = "SELECT count(*) FROM sqlite_schema WHERE name = 'old_letters'"
            self.has_old = bool(self._file.connection().execute(old).fetchone()[0])
            """Whether letters of a version 1 file are left for `tidy`."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def keep(self, letters: Sequence[DeadLetter]) -> int:
        """Make letters durable; return how many letters were deleted for them."""
        with self._file.transaction() as connection:
            return self._insert(connection, letters)

    def tidy(self) -> None:
        """Convert a few letters of a version 1 file, if there are any left."""
        if not self.has_old:
            return
        with self._file.transaction() as connection:
            rows = connection.execute(_OLD, (OLD_AT_ONCE,)).fetchall()
            if rows:
                self._insert(connection, [letter_of(row) for row in rows])
                connection.execute("DELETE FROM old_letters WHERE digest <= ?", (rows[-1][-1],))
            else:
                connection.execute("DROP TABLE old_letters")
        self.has_old = bool(rows)

    def _insert(self, connection: Connection, letters: Sequence[DeadLetter]) -> int:
        rows = [row_of(letter) for letter in letters]
        connection.executemany(_KEEP, rows)
        dropped = 0
        for ship in {int(row[-2]) for row in rows}:
            dropped += self._drop(connection, ship, self._bounds.letters_of_ship, self._bounds.bytes_of_ship)
        return dropped + self._drop(connection, _ALL, None, self._bounds.bytes_of_all)

    def _drop(self, connection: Connection, ship: int, max_letters: int | None, max_bytes: int) -> int:
        """Delete the oldest letters of a ship, or of `_ALL`, that are too many; return their number."""
        total = connection.execute("SELECT letters, kept_bytes FROM totals WHERE ship = ?", (ship,)).fetchone()
        letters, kept_bytes = total or (0, 0)
        dropped: list[tuple[bytes]] = []
        which = "ORDER BY last_us, digest DESC" if ship == _ALL else "WHERE ship = ? ORDER BY last_us, digest"
        query = f"SELECT digest, kept_bytes FROM dead_letters {which}"  # noqa: S608  # put together from constants
        with closing(connection.execute(query, () if ship == _ALL else (ship,))) as oldest:
            while (max_letters is not None and letters > max_letters) or kept_bytes > max_bytes:
                digest, size_bytes = oldest.fetchone()
                dropped.append((digest,))
                letters, kept_bytes = letters - 1, kept_bytes - size_bytes
        connection.executemany("DELETE FROM dead_letters WHERE digest = ?", dropped)
        return len(dropped)

    def all(self) -> Iterator[DeadLetter]:
        """Yield all letters, the one received last first."""
        return self._select("ORDER BY last_us DESC, digest")

    def count(self) -> int:
        """Return the number of letters."""
        with self._file.errors():
            total = self._file.connection().execute("SELECT letters FROM totals WHERE ship = ?", (_ALL,)).fetchone()
            return int(total[0]) if total else 0

    def newest(self, limit: int) -> list[DeadLetter]:
        """Return the letters received last, the last one first, without their payloads, which may be long."""
        with self._file.errors():
            rows = self._file.connection().execute(_NEWEST, (limit,)).fetchall()
        return [letter_of(row) for row in rows]

    def between(self, first: bytes, last: bytes) -> Iterator[DeadLetter]:
        """Yield the letters with digests from `first` to `last`, by digest."""
        return self._select("WHERE digest BETWEEN ? AND ? ORDER BY digest", first, last)

    def _select(self, which: str, *bound: bytes) -> Iterator[DeadLetter]:
        with self._file.errors():
            query = f"SELECT {COLUMNS} FROM dead_letters {which}"  # noqa: S608  # put together from constants
            for row in self._file.connection().execute(query, bound):
                yield letter_of(row)

    def remove(self, letter: DeadLetter) -> bool:
        """Delete a letter, unless its message was received again since it was read; return whether it is deleted."""
        with self._file.transaction() as connection:
            found = connection.execute(
                "DELETE FROM dead_letters WHERE digest = ? AND times = ?", (letter.digest, letter.times)
            )
            return found.rowcount == 1


def letter_of(row: tuple[Any, ...]) -> DeadLetter:
    """Make a letter from `COLUMNS`."""
    topic, payload, payload_bytes, reason, problems, *others = row
    faults = tuple(Problem(**problem) for problem in json.loads(problems))
    return DeadLetter(topic, payload, payload_bytes, reason, faults, *others)


def row_of(letter: DeadLetter) -> tuple[Any, ...]:
    """Return `COLUMNS`, the ship and the size of a letter."""
    problems = json.dumps([asdict(each) for each in letter.problems])
    texts = letter.topic, letter.reason, problems
    kept_bytes = LETTER_BYTES + len(letter.payload) + sum(len(each.encode()) for each in texts)
    ship = ship_of(letter.topic)
    values = {**{name: getattr(letter, name) for name in DeadLetter.__slots__}, "problems": problems}
    return (*values.values(), NO_SHIP if ship is None else ship, kept_bytes)
