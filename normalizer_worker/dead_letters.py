"""Messages that can never be stored, kept with the reason, in an SQLite file of their own."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import InvalidInput, Problem
from shared.sqlite_files import SqliteFile

FILE_NAME = "dead-letters.sqlite"
_VERSION = 1
_SCHEMA = """
CREATE TABLE dead_letters (
    digest BLOB PRIMARY KEY,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    reason TEXT NOT NULL,
    problems TEXT NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    times INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""
_BY_LAST = "CREATE INDEX IF NOT EXISTS dead_letters_by_last ON dead_letters (last_us DESC, digest)"
"""Made where it is missing, too: files of version 1 began without it."""
_KEEP = """
INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET last_us = excluded.last_us, times = times + 1
"""
_NEWEST = """
SELECT digest, topic, length(payload), reason, problems, first_us, last_us, times
FROM dead_letters ORDER BY last_us DESC, digest LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Summary:
    """A dead letter without its payload, which may be long and is a stranger's.

    Attributes:
        digest: of topic and payload.
        payload_bytes: the payload's length.

    The others are those of `DeadLetter`.

    """

    digest: bytes
    topic: str
    payload_bytes: int
    reason: str
    problems: tuple[Problem, ...]
    first_us: int
    last_us: int
    times: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message and why it is dead.

    Attributes:
        topic: where it came from.
        payload: its bytes, as they came.
        reason: one line.
        problems: the places of its faults, up to 100.
        first_us: when it came first, microseconds since 1970.
        last_us: when it came last.
        times: how often the same bytes came on the topic, redelivery included.

    """

    topic: str
    payload: bytes
    reason: str
    problems: tuple[Problem, ...]
    first_us: int
    last_us: int
    times: int = 1

    @property
    def digest(self) -> bytes:
        """Of topic and payload: what the same message again has in common with it."""
        return hashlib.sha256(self.topic.encode() + b"\0" + self.payload).digest()

    def why(self, most: int) -> str:
        """Say it in one line: the reason, and the first faults, where it does not name them itself."""
        named = [each for each in self.problems[:most] if each.problem not in self.reason]
        faults = "; ".join(f"{each.at} {each.problem}" for each in named)
        return f"{self.reason}: {faults}" if faults else self.reason

    @classmethod
    def of(cls, topic: str, payload: bytes, error: InvalidInput, now_us: int) -> "DeadLetter":
        """Keep a message for the error that it caused."""
        return cls(topic, payload, error.summary, error.problems, now_us, now_us)


class DeadLetters:
    """The dead letters of one data folder; the same message again is counted, not kept again."""

    def __init__(self, folder: Path) -> None:
        """Open `dead-letters.sqlite` in a folder, and make it where it is missing.

        Raises:
            InvalidSettings: the file cannot be used.

        """
        self._file = SqliteFile(folder / FILE_NAME, _SCHEMA, _VERSION, cache_kib=1024)
        with self._file.errors():
            self._file.connection().execute(_BY_LAST)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Make letters durable.

        Raises:
            Unavailable: the file cannot be written now; none of them was kept.

        """
        if letters:
            with self._file.transaction() as connection:
                connection.executemany(_KEEP, [_row(letter) for letter in letters])

    def all(self) -> Iterator[DeadLetter]:
        """Give every letter, the one that came last first."""
        return self._select("ORDER BY last_us DESC, digest")

    def count(self) -> int:
        """Tell how many there are.

        Raises:
            Unavailable: the file cannot be read now.

        """
        with self._file.errors():
            (count,) = self._file.connection().execute("SELECT count(*) FROM dead_letters").fetchone()
            return int(count)

    def newest(self, limit: int) -> list[Summary]:
        """Give those that came last, the last of them first; what it costs depends on `limit` alone.

        Raises:
            Unavailable: the file cannot be read now.

        """
        with self._file.errors():
            rows = self._file.connection().execute(_NEWEST, (limit,)).fetchall()
        return [_summary(*row) for row in rows]

    def between(self, first: bytes, last: bytes) -> Iterator[DeadLetter]:
        """Give the letters whose digests lie between two, these included."""
        return self._select("WHERE digest BETWEEN ? AND ? ORDER BY digest", first, last)

    def _select(self, which: str, *bound: bytes) -> Iterator[DeadLetter]:
        columns = "topic, payload, reason, problems, first_us, last_us, times"
        with self._file.errors():
            query = f"SELECT {columns} FROM dead_letters {which}"  # noqa: S608  # put together from constants
            for topic, payload, reason, problems, *numbers in self._file.connection().execute(query, bound):
                yield DeadLetter(topic, payload, reason, _faults(problems), *numbers)

    def remove(self, letter: DeadLetter) -> bool:
        """Remove a letter, unless its message has come once more since it was read; tell whether it is removed.

        Raises:
            Unavailable: the file cannot be written now.

        """
        with self._file.transaction() as connection:
            found = connection.execute(
                "DELETE FROM dead_letters WHERE digest = ? AND times = ?", (letter.digest, letter.times)
            )
            return found.rowcount == 1


def _summary(digest: bytes, topic: str, size: int, reason: str, problems: str, *numbers: int) -> Summary:
    first_us, last_us, times = numbers
    return Summary(digest, topic, size, reason, _faults(problems), first_us, last_us, times)


def _faults(problems: str) -> tuple[Problem, ...]:
    return tuple(Problem(**problem) for problem in json.loads(problems))


def _row(letter: DeadLetter) -> tuple[bytes, str, bytes, str, str, int, int]:
    problems = json.dumps([{"at": each.at, "problem": each.problem} for each in letter.problems])
    return letter.digest, letter.topic, letter.payload, letter.reason, problems, letter.first_us, letter.last_us
