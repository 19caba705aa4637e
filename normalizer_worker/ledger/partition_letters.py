"""The dead letters of a cluster: rows in PostgreSQL beside the readings, so that they move with their partition."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.ledger.dead_letters import COLUMNS, letter_of, row_of
from shared.store.postgres.partition import PostgresPartition
from shared.store.postgres.store import PostgresStore

CHECKED_BYTES = 2**20
"""After so much more is kept, the size of the whole partition is checked again."""
AT_ONCE = 100
"""How many letters are read at once."""
_KEEP = f"""
INSERT INTO dead_letters AS d (partition, {COLUMNS}, ship, kept_bytes)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (partition, digest) DO UPDATE SET
    first_us = least(d.first_us, EXCLUDED.first_us),
    last_us = greatest(d.last_us, EXCLUDED.last_us),
    times = d.times + EXCLUDED.times
"""  # noqa: S608  # put together from constants
_TOO_MANY_OF_SHIPS = """
DELETE FROM dead_letters WHERE partition = %s AND digest IN (
    SELECT digest FROM (
        SELECT digest, row_number() OVER newer AS letters, sum(kept_bytes) OVER newer AS bytes
        FROM dead_letters WHERE partition = %s AND ship = ANY(%s)
        WINDOW newer AS (PARTITION BY ship ORDER BY last_us DESC, digest DESC)
    ) AS counted WHERE letters > %s OR bytes > %s
)
"""
_TOO_MANY_OF_ALL = """
DELETE FROM dead_letters WHERE partition = %s AND digest IN (
    SELECT digest FROM (
        SELECT digest, sum(kept_bytes) OVER (ORDER BY last_us DESC, digest) AS bytes
        FROM dead_letters WHERE partition = %s
    ) AS counted WHERE bytes > %s
)
"""
_WITHOUT_PAYLOADS = COLUMNS.replace("payload", "''::bytea", 1)
_NEWEST = f"SELECT {_WITHOUT_PAYLOADS} FROM dead_letters ORDER BY last_us DESC, digest LIMIT %s"  # noqa: S608  # constants
_NEXT = f"""
SELECT {COLUMNS} FROM dead_letters WHERE (last_us, digest) < (%s, %s) ORDER BY last_us DESC, digest DESC LIMIT %s
"""  # noqa: S608  # put together from constants
_BETWEEN = f"SELECT {COLUMNS} FROM dead_letters WHERE digest BETWEEN %s AND %s ORDER BY digest LIMIT %s"  # noqa: S608  # constants
_REMOVE = "DELETE FROM dead_letters WHERE digest = %s AND times = %s RETURNING digest"


class Bounds(NamedTuple):
    """How much is kept. Beyond that, the letters that were received the longest ago are deleted."""

    letters_of_ship: int = 1000
    bytes_of_ship: int = 16 * 2**20
    bytes_of_partition: int = 32 * 2**20


class PartitionLetters:
    """The dead letters of one partition, for the worker that owns it; a `DeadLetterStore`."""

    def __init__(self, partition: PostgresPartition, bounds: Bounds = Bounds()) -> None:  # noqa: B008  # it cannot be changed
        """Write under the fence of a partition."""
        self._partition = partition
        self._bounds = bounds
        self._unchecked_bytes = CHECKED_BYTES

    def keep(self, letters: Sequence[DeadLetter]) -> int:
        """Make letters durable; return how many letters were deleted for them.

        Raises:
            Unavailable: another worker owns the partition, or the server does not answer.

        """
        of, bounds = self._partition.number, self._bounds
        rows = [tuple(map(_storable, row_of(letter))) for letter in letters]
        ships = sorted({int(row[-2]) for row in rows})
        unchecked_bytes = self._unchecked_bytes + sum(int(row[-1]) for row in rows)
        drops: list[tuple[str, tuple[Any, ...]]] = [
            (_TOO_MANY_OF_SHIPS, (of, of, ships, bounds.letters_of_ship, bounds.bytes_of_ship))
        ]
        if unchecked_bytes >= CHECKED_BYTES:
            drops.append((_TOO_MANY_OF_ALL, (of, of, bounds.bytes_of_partition)))
            unchecked_bytes = 0
        with self._partition.fenced() as transaction:
            ran = transaction.run([*((_KEEP, (of, *row)) for row in rows), *drops])
        self._unchecked_bytes = unchecked_bytes
        return sum(each.rowcount for each in ran[len(rows) :])

    def tidy(self) -> None:
        """Do nothing: there is nothing that is not urgent."""


class AllLetters:
    """The dead letters of all partitions, for who lists them; safe to use from several threads."""

    def __init__(self, store: PostgresStore) -> None:
        """Read from a store."""
        self._store = store

    def count(self) -> int:
        """Return the number of letters."""
        return int(self._store.read("SELECT count(*) FROM dead_letters")[0][0])

    def newest(self, limit: int) -> list[DeadLetter]:
        """Return the letters received last, the last one first, without their payloads, which may be long."""
        return [letter_of(row) for row in self._store.read(_NEWEST, (limit,))]

    def all(self) -> Iterator[DeadLetter]:
        """Yield all letters, the one received last first."""
        after: tuple[int, bytes] = 2**62, b""
        while rows := self._store.read(_NEXT, (*after, AT_ONCE)):
            for row in rows:
                yield letter_of(row)
            last = letter_of(rows[-1])
            after = last.last_us, last.digest

    def between(self, first: bytes, last: bytes) -> Iterator[DeadLetter]:
        """Yield the letters with digests from `first` to `last`, by digest; `AT_ONCE` at most."""
        yield from map(letter_of, self._store.read(_BETWEEN, (first, last, AT_ONCE)))

    def remove(self, letter: DeadLetter) -> bool:
        """Delete a letter, unless its message was received again since it was read; return whether it is deleted."""
        return bool(self._store.write(_REMOVE, (letter.digest, letter.times)))


def _storable(value: Any) -> Any:
    """Return a text as PostgreSQL can store it: without the character NUL."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value
