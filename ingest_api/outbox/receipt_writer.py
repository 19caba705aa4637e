"""Removes batches from the outbox when their receipts come, and records their final status."""

import json
import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ingest_api.outbox import batch_status
from ingest_api.outbox.capacity import Usage
from ingest_api.outbox.entry import ENTRY_BYTES
from ingest_api.outbox.recent_entries import RecentEntries
from ingest_api.outbox.waiters import Waiters
from shared.contract.status import BatchKey, FinalStatus
from shared.domain.errors import Problem

log = logging.getLogger(__name__)

# One row of JSON for all entries: each row that SQLite returns would release Python's lock, and wait for it again.
_FIND = (
    "SELECT json_group_array(json_array(ship, batch_id, number, hex(digest), sender, length(payload))) FROM outbox"
    " WHERE batch_id IN (SELECT value FROM json_each(?))"
)
_DELETE = "DELETE FROM outbox WHERE number IN (SELECT value FROM json_each(?))"


class BatchReceipt(NamedTuple):
    """A receipt; `digest` is that of the content it is for, and `then` is called once the receipt is durable."""

    key: BatchKey
    digest: bytes
    status: FinalStatus
    problems: tuple[Problem, ...]
    then: Callable[[], None]


class Removed(NamedTuple):
    """An entry that a receipt removed; `number` is 0 where the batch did not wait."""

    number: int = 0
    sender: str = ""
    size_bytes: int = 0


class ReceiptWriter:
    """Applies the receipts of one commit: the first receipt for a batch counts."""

    makes_room = True

    def __init__(self, recent: RecentEntries, usage: Usage, waiters: Waiters, now_us: Callable[[], int]) -> None:
        """Prepare; `recent`, `usage` and `waiters` are told of removed entries."""
        self._recent = recent
        self._usage = usage
        self._waiters = waiters
        self._now_us = now_us

    def write(self, connection: sqlite3.Connection, items: Sequence[BatchReceipt]) -> list[Removed | None]:
        """Remove entries and set their status; return None for a receipt whose batch waits with other content."""
        ((rows,),) = connection.execute(_FIND, (json.dumps([each.key.batch_id for each in items]),))
        waiting = {(ship, batch_id): found for ship, batch_id, *found in json.loads(rows)}
        removed: list[Removed | None] = []
        applied: list[BatchReceipt] = []
        for receipt in items:
            number, digest, sender, size = waiting.get(receipt.key, (0, "", "", 0))
            if not number:
                removed.append(Removed())
            elif digest != receipt.digest.hex().upper():
                removed.append(None)
            else:
                del waiting[receipt.key]
                applied.append(receipt)
                removed.append(Removed(number, sender, size + ENTRY_BYTES))
        if applied:
            connection.execute(_DELETE, (json.dumps([each.number for each in removed if each and each.number]),))
            rows = [(each.key, each.status, batch_status.errors_json(each.problems)) for each in applied]
            batch_status.decide(connection, rows, self._now_us())
        return removed

    def committed(self, items: Sequence[BatchReceipt], results: Sequence[Removed | None]) -> None:
        """Release the space of removed entries and wake the requests that wait for them."""
        for receipt, removed in zip(items, results, strict=True):
            if removed is None:
                continue
            if removed.number:
                self._removed(receipt.key, removed)
            try:
                receipt.then()
            except Exception:  # the other receipts are to be handled, too
                log.exception("handling the receipt of batch %s failed", receipt.key.batch_id)

    def _removed(self, key: BatchKey, removed: Removed) -> None:
        self._recent.remove(removed.number)
        self._usage.release(removed.sender, removed.size_bytes)
        self._waiters.wake(key)

    def failed(self, items: Sequence[BatchReceipt], error: Exception) -> None:
        """Leave the batches in the outbox: they are published again, and get another receipt."""
        log.warning("%d receipts cannot be written to the outbox now: %s", len(items), error)
