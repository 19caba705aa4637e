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
_KEEP = """
INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET last_us = excluded.last_us, times = times + 1
"""


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
        with self._file.errors():
            rows = self._file.connection().execute(
                "SELECT topic, payload, reason, problems, first_us, last_us, times FROM dead_letters"
                " ORDER BY last_us DESC, digest"
            )
            for topic, payload, reason, problems, *numbers in rows:
                faults = tuple(Problem(**problem) for problem in json.loads(problems))
                yield DeadLetter(topic, payload, reason, faults, *numbers)


def _row(letter: DeadLetter) -> tuple[bytes, str, bytes, str, str, int, int]:
    digest = hashlib.sha256(letter.topic.encode() + b"\0" + letter.payload).digest()
    problems = json.dumps([{"at": each.at, "problem": each.problem} for each in letter.problems])
    return digest, letter.topic, letter.payload, letter.reason, problems, letter.first_us, letter.last_us
