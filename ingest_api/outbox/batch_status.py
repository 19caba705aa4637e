"""Batch status in the outbox's file: the table `fates`, by which duplicates are detected, too."""

import json
import sqlite3
from collections.abc import Callable, Iterable
from typing import NamedTuple
from uuid import UUID

from shared.contract.status import BatchKey, BatchStatus, FinalStatus, already_used
from shared.domain.errors import Problem
from shared.domain.timestamps import US_PER_S

KEPT_US = 2 * 86_400 * US_PER_S
"""How long the status of a batch is kept after its receipt."""
DELETED_BESIDES = 100
"""A commit deletes at most so many old rows, and one more for each that it adds: a backlog must not slow it down."""
_FIND = "SELECT ship, digest, readings, status, errors, superseded FROM fates WHERE batch_id = ? ORDER BY ship"
_INSERT = (
    "INSERT OR REPLACE INTO fates (batch_id, ship, digest, readings, status, errors, since_us)"
    " SELECT ?1, ?2, ?3, ?4, 'accepted', '[]', ?5"
)
_IF_UNUSED = " WHERE NOT EXISTS (SELECT 1 FROM fates WHERE batch_id = ?1)"
_DECIDE = (
    "UPDATE fates SET status = json_extract(receipt.value, '$[2]'), errors = json_extract(receipt.value, '$[3]'),"
    " superseded = json_extract(receipt.value, '$[4]'), since_us = ? FROM json_each(?) AS receipt"
    " WHERE batch_id = json_extract(receipt.value, '$[1]') AND ship = json_extract(receipt.value, '$[0]')"
)
_DELETE_OLD = (
    "DELETE FROM fates WHERE (batch_id, ship) IN (SELECT batch_id, ship FROM fates"
    " WHERE status <> 'accepted' AND since_us < ? ORDER BY since_us LIMIT ?)"
)


class KnownBatch(NamedTuple):
    """The status of a batch that was accepted before, and the digest of its content."""

    batch: BatchStatus
    digest: bytes

    def status_for(self, ship: int, digest: bytes) -> BatchStatus:
        """Return the status, for a duplicate of the batch.

        Raises:
            Conflict: it is not a duplicate, but another batch with the same `batch_id`.

        """
        if (self.batch.ship, self.digest) != (ship, digest):
            raise already_used(self.batch.batch_id)
        return self.batch


def find(connection: sqlite3.Connection, batch_id: str, may_see: Callable[[int], bool]) -> list[KnownBatch]:
    """Return the batches with a `batch_id`, by ship; only those of ships for which `may_see` is true."""
    return [
        KnownBatch(
            BatchStatus(UUID(batch_id), ship, readings, status, _problems(errors), superseded),
            digest,
        )
        for ship, digest, readings, status, errors, superseded in connection.execute(_FIND, (batch_id,))
        if may_see(ship)
    ]


def find_duplicate(
    connection: sqlite3.Connection, key: BatchKey, digest: bytes, may_see: Callable[[int], bool]
) -> KnownBatch | None:
    """Return the batch that a new one duplicates or conflicts with; None where there is none.

    A batch of a ship that the sender has no access to causes no conflict: the sender would learn that it exists. Nor
    does one that was itself rejected because another batch, which a gateway beside this one has, has the `batch_id`.
    """
    found = find(connection, key.batch_id, lambda ship: ship == key.ship or may_see(ship))
    found = [each for each in found if each.digest == digest or not each.batch.conflict]
    return next((each for each in found if each.batch.ship == key.ship), found[0] if found else None)


def insert(
    connection: sqlite3.Connection, batch: BatchStatus, digest: bytes, now_us: int, may_see: Callable[[int], bool]
) -> KnownBatch | None:
    """Insert an accepted batch and return None; where `find_duplicate` finds one, return that and insert nothing.

    It replaces one of its ship that does not count there.
    """
    values = (str(batch.batch_id), batch.ship, digest, batch.readings, now_us)
    if connection.execute(_INSERT + _IF_UNUSED, values).rowcount:
        return None
    known = find_duplicate(connection, batch.key, digest, may_see)
    if known is None:
        connection.execute(_INSERT, values)
    return known


def decide(
    connection: sqlite3.Connection, receipts: Iterable[tuple[BatchKey, FinalStatus, str, int]], now_us: int
) -> None:
    """Set the final status of accepted batches, their errors as `errors_json` returns them, and what is superseded."""
    rows = json.dumps([(*key, *outcome) for key, *outcome in receipts])
    connection.execute(_DECIDE, (now_us, rows))


def errors_json(problems: tuple[Problem, ...]) -> str:
    """Return problems as the column `errors` has them."""
    return json.dumps([[each.at, each.problem] for each in problems]) if problems else "[]"


def _problems(errors: str) -> tuple[Problem, ...]:
    return tuple(Problem(*each) for each in json.loads(errors))


def delete_old(connection: sqlite3.Connection, now_us: int, new: int) -> None:
    """Delete the oldest rows: more than the `new` ones of this commit, so that the table shrinks, but never many."""
    connection.execute(_DELETE_OLD, (now_us - KEPT_US, new + DELETED_BESIDES))
