"""What became of batches: how that stands in the outbox's file, and how a repeat is known by it."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple
from uuid import UUID

from shared.errors import Conflict, Problem
from shared.moments import US_PER_S

KEPT_US = 2 * 86_400 * US_PER_S
"""How long it is known what became of a batch, from then on."""
FORGOTTEN_BESIDES = 100
_FIND = "SELECT ship, digest, readings, status, errors FROM fates WHERE batch_id = ?"
_BEGIN = "INSERT INTO fates VALUES (?, ?, ?, ?, 'accepted', '[]', ?) ON CONFLICT DO NOTHING"
_DECIDE = (
    "UPDATE fates SET status = json_extract(told.value, '$[1]'), errors = json_extract(told.value, '$[2]'),"
    " since_us = ? FROM json_each(?) AS told WHERE batch_id = json_extract(told.value, '$[0]')"
)
_FORGET = (
    "DELETE FROM fates WHERE batch_id IN (SELECT batch_id FROM fates"
    " WHERE status <> 'accepted' AND since_us < ? ORDER BY since_us LIMIT ?)"
)

Status = Literal["accepted", "stored", "rejected"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a batch; `problems` say why it was rejected."""

    batch_id: UUID
    ship: int
    readings: int
    status: Status
    problems: tuple[Problem, ...] = ()


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


def find(connection: sqlite3.Connection, batch_id: UUID) -> Known | None:
    """Give what is known under a name; None where nothing is."""
    row = connection.execute(_FIND, (str(batch_id),)).fetchone()
    if row is None:
        return None
    ship, digest, readings, status, errors = row
    return Known(Fate(batch_id, ship, readings, status, tuple(Problem(*each) for each in json.loads(errors))), digest)


def begin(connection: sqlite3.Connection, fate: Fate, digest: bytes, now_us: int) -> Known | None:
    """Note that a batch is accepted; or give what is known under its name, if there is one, and note nothing."""
    values = (str(fate.batch_id), fate.ship, digest, fate.readings, now_us)
    return None if connection.execute(_BEGIN, values).rowcount else find(connection, fate.batch_id)


def decide(connection: sqlite3.Connection, told: Sequence[tuple[UUID, Status, str]], now_us: int) -> None:
    """Note what a worker says of batches that were accepted: their status, and errors as `written` gives them."""
    rows = json.dumps([(str(batch_id), status, errors) for batch_id, status, errors in told])
    connection.execute(_DECIDE, (now_us, rows))


def written(problems: tuple[Problem, ...]) -> str:
    """Give problems as they stand in the file."""
    return json.dumps([[each.at, each.problem] for each in problems]) if problems else "[]"


def forget(connection: sqlite3.Connection, now_us: int, new: int) -> None:
    """Forget the oldest: more of them than come in, but never so many that those who wait would notice."""
    connection.execute(_FORGET, (now_us - KEPT_US, new + FORGOTTEN_BESIDES))
