"""What became of batches: how that stands in the outbox's file, and how a repeat is known by it."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import UUID

from shared.domain.errors import Conflict, Problem
from shared.domain.timestamps import US_PER_S

KEPT_US = 2 * 86_400 * US_PER_S
"""How long it is known what became of a batch, from then on."""
FORGOTTEN_BESIDES = 100
_FIND = "SELECT ship, digest, readings, status, errors FROM fates WHERE batch_id = ? ORDER BY ship"
_BEGIN_WHERE_NEW = (
    "INSERT INTO fates (batch_id, ship, digest, readings, status, errors, since_us)"
    " SELECT ?1, ?2, ?3, ?4, 'accepted', '[]', ?5 WHERE NOT EXISTS (SELECT 1 FROM fates WHERE batch_id = ?1)"
)
_BEGIN_BESIDE_OTHERS = (
    "INSERT INTO fates (batch_id, ship, digest, readings, status, errors, since_us)"
    " VALUES (?, ?, ?, ?, 'accepted', '[]', ?)"
)
_DECIDE = (
    "UPDATE fates SET status = json_extract(told.value, '$[2]'), errors = json_extract(told.value, '$[3]'),"
    " since_us = ? FROM json_each(?) AS told"
    " WHERE batch_id = json_extract(told.value, '$[1]') AND ship = json_extract(told.value, '$[0]')"
)
_FORGET = (
    "DELETE FROM fates WHERE (batch_id, ship) IN (SELECT batch_id, ship FROM fates"
    " WHERE status <> 'accepted' AND since_us < ? ORDER BY since_us LIMIT ?)"
)

Status = Literal["accepted", "stored", "rejected"]


class BatchKey(NamedTuple):
    """Identifies a batch: two ships may use the same `batch_id`."""

    ship: int
    batch_id: str


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a batch; `problems` say why it was rejected."""

    batch_id: UUID
    ship: int
    readings: int
    status: Status
    problems: tuple[Problem, ...] = ()

    @property
    def key(self) -> BatchKey:
        """What identifies the batch."""
        return BatchKey(self.ship, str(self.batch_id))


class Known(NamedTuple):
    """A batch whose name is known: what became of it, and the digest of its content."""

    fate: Fate
    digest: bytes

    def repeated(self, ship: int, digest: bytes) -> Fate:
        """Give what became of it to whoever sends it again.

        Raises:
            Conflict: it is another batch that has its name.

        """
        if (self.fate.ship, self.digest) != (ship, digest):
            raise Conflict(f"batch_id {self.fate.batch_id} is that of another batch")
        return self.fate


def find(connection: sqlite3.Connection, batch_id: str, may_see: Callable[[int], bool]) -> list[Known]:
    """Return the batches that have a `batch_id`, one for each ship that the predicate lets through, by ship."""
    return [
        Known(
            Fate(UUID(batch_id), ship, readings, status, tuple(Problem(*each) for each in json.loads(errors))), digest
        )
        for ship, digest, readings, status, errors in connection.execute(_FIND, (batch_id,))
        if may_see(ship)
    ]


def duplicate(connection: sqlite3.Connection, key: BatchKey, may_see: Callable[[int], bool]) -> Known | None:
    """Return the batch that a new one of a ship repeats, or whose name it takes; None where its name is free.

    A batch of a ship that the sender may not send for takes no name from it: the sender would learn that it exists.
    """
    found = find(connection, key.batch_id, lambda ship: ship == key.ship or may_see(ship))
    return next((each for each in found if each.fate.ship == key.ship), found[0] if found else None)


def begin(
    connection: sqlite3.Connection, fate: Fate, digest: bytes, now_us: int, may_see: Callable[[int], bool]
) -> Known | None:
    """Note that a batch is accepted; or note nothing, and return its `duplicate`."""
    values = (str(fate.batch_id), fate.ship, digest, fate.readings, now_us)
    if connection.execute(_BEGIN_WHERE_NEW, values).rowcount:
        return None
    known = duplicate(connection, fate.key, may_see)
    if known is None:
        connection.execute(_BEGIN_BESIDE_OTHERS, values)
    return known


def decide(connection: sqlite3.Connection, told: Sequence[tuple[BatchKey, Status, str]], now_us: int) -> None:
    """Note what a worker says of batches that were accepted: their status, and errors as `written` gives them."""
    rows = json.dumps([(*key, status, errors) for key, status, errors in told])
    connection.execute(_DECIDE, (now_us, rows))


def written(problems: tuple[Problem, ...]) -> str:
    """Give problems as they stand in the file."""
    return json.dumps([[each.at, each.problem] for each in problems]) if problems else "[]"


def forget(connection: sqlite3.Connection, now_us: int, new: int) -> None:
    """Forget the oldest: more of them than come in, but never so many that those who wait would notice."""
    connection.execute(_FORGET, (now_us - KEPT_US, new + FORGOTTEN_BESIDES))
