"""What the outbox commits: accepted batches that are inserted, and receipts, which remove them."""

import json
import logging
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ingest_api.outbox import batch_status
from ingest_api.outbox.batch_status import KnownBatch
from ingest_api.outbox.capacity import Usage
from ingest_api.outbox.commit_queue import Request, Writer
from ingest_api.outbox.entry import ENTRY_BYTES, Entry, WaitingEntry
from ingest_api.outbox.file import has_disk_for
from ingest_api.outbox.recent_entries import RecentEntries
from ingest_api.outbox.waiters import Waiters
from shared.contract.batches import at
from shared.contract.status import BatchKey, FinalStatus
from shared.domain.errors import Conflict, Problem, Unavailable
from shared.runtime.sqlite_files import SqliteFile

log = logging.getLogger(__name__)

_INSERT = "INSERT INTO outbox (batch_id, ship, sender, digest, accepted_us, payload) VALUES (?, ?, ?, ?, ?, ?)"
# One row of JSON for all entries: each row that SQLite returns would release Python's lock, and wait for it again.
_FIND = (
    "SELECT json_group_array(json_array(ship, batch_id, number, hex(digest), sender, length(payload))) FROM outbox"
    " WHERE batch_id IN (SELECT value FROM json_each(?))"
)
_DELETE = "DELETE FROM outbox WHERE number IN (SELECT value FROM json_each(?))"

Inserted = WaitingEntry | KnownBatch | Unavailable
"""The new entry; the batch that it duplicates or conflicts with; or why it was not inserted."""


class EntryWriter(Writer):
    """Inserts the entries of one commit."""

    def __init__(self, file: SqliteFile, folder: Path, recent: RecentEntries, now_us: Callable[[], int]) -> None:
        """Prepare; `file` is in `folder`, and `recent` receives the new entries."""
        self.on_new: Callable[[], None] = lambda: None
        """Called when new entries are durable."""
        self._file = file
        self._folder = folder
        self._recent = recent
        self._now_us = now_us

    def write(self, connection: sqlite3.Connection, items: Sequence[Request]) -> list[Inserted]:
        """Insert entries, if the disk has room for all of them."""
        entries: list[Entry] = [each.what for each in items]
        if not has_disk_for(self._file, self._folder, sum(each.size_bytes for each in entries)):
            full = Unavailable(f"the disk of {self._folder} is full")
            return [
                batch_status.find_duplicate(connection, each.key, each.digest, each.access.may_send) or full
                for each in entries
            ]
        now_us = self._now_us()
        batch_status.delete_old(connection, now_us, len(entries))
        return [self._insert(connection, each, now_us) for each in entries]

    def _insert(self, connection: sqlite3.Connection, entry: Entry, now_us: int) -> Inserted:
        known = batch_status.insert(connection, entry.accepted, entry.digest, now_us, entry.access.may_send)
        if known is not None:
            return known
        batch_id = str(entry.batch_id)
        values = batch_id, entry.ship, entry.sender, entry.digest, now_us, entry.payload
        number = connection.execute(_INSERT, values).lastrowid or 0
        return WaitingEntry(number, batch_id, entry.ship, entry.digest, entry.payload)

    def committed(self, items: Sequence[Request], results: Sequence[Inserted]) -> None:
        """Have the new entries published, and answer all requests."""
        try:
            self._publish(results)
        finally:
            super().committed(items, results)

    def _publish(self, results: Sequence[Inserted]) -> None:
        new = [each for each in results if isinstance(each, WaitingEntry)]
        if new:
            self._recent.add(new)
            self.on_new()


class BodyWriter(EntryWriter):
    """Inserts the entries of bodies with several batches: all of a body, or none of it."""

    def write(self, connection: sqlite3.Connection, items: Sequence[Request]) -> list[Any]:
        """Insert entries, if the disk has room for all of them; return for each body its results, or an error."""
        bodies: list[Sequence[Entry]] = [each.what for each in items]
        if not has_disk_for(self._file, self._folder, sum(each.size_bytes for body in bodies for each in body)):
            return [Unavailable(f"the disk of {self._folder} is full")] * len(items)
        now_us = self._now_us()
        batch_status.delete_old(connection, now_us, sum(map(len, bodies)))
        return [self._insert_all(connection, body, now_us) for body in bodies]

    def _insert_all(
        self, connection: sqlite3.Connection, entries: Sequence[Entry], now_us: int
    ) -> list[Inserted] | Conflict:
        connection.execute("SAVEPOINT body")
        found, conflict = list[Inserted](), None
        for entry in entries:
            found.append(self._insert(connection, entry, now_us))
            conflict = _conflict(found[-1], entry)
            if conflict is not None:
                connection.execute("ROLLBACK TO body")
                break
        connection.execute("RELEASE body")
        return conflict or found

    def committed(self, items: Sequence[Request], results: Sequence[Any]) -> None:
        """Have the new entries published, and answer all requests."""
        try:
            self._publish([each for body in results if isinstance(body, list) for each in body])
        finally:
            Writer.committed(self, items, results)


def _conflict(found: Inserted, entry: Entry) -> Conflict | None:
    """Return the conflict of an entry with a batch that is known, if there is one; it names the entry's place."""
    try:
        if isinstance(found, KnownBatch):
            found.status_for(entry.ship, entry.digest)
    except Conflict as error:
        return Conflict(error.summary, (Problem(at(entry.place, "batch_id"), error.summary),))
    return None


class BatchReceipt(NamedTuple):
    """A receipt; `digest` is that of the content it is for, and `then` is called once the receipt is durable."""

    key: BatchKey
    digest: bytes
    status: FinalStatus
    problems: tuple[Problem, ...]
    then: Callable[[], None]
    superseded: int = 0


class Removed(NamedTuple):
    """An entry that a receipt removed; `number` is 0 where the batch did not wait."""

    number: int = 0
    sender: str = ""
    size_bytes: int = 0


class ReceiptWriter(Writer):
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
        decided = []
        for receipt in items:
            number, digest, sender, size = waiting.get(receipt.key, (0, "", "", 0))
            if not number:
                removed.append(Removed())
            elif digest != receipt.digest.hex().upper():
                removed.append(None)
            else:
                del waiting[receipt.key]
                errors = batch_status.errors_json(receipt.problems)
                decided.append((receipt.key, receipt.status, errors, receipt.superseded))
                removed.append(Removed(number, sender, size + ENTRY_BYTES))
        if decided:
            connection.execute(_DELETE, (json.dumps([each.number for each in removed if each and each.number]),))
            batch_status.decide(connection, decided, self._now_us())
        return removed

    def committed(self, items: Sequence[BatchReceipt], results: Sequence[Removed | None]) -> None:
        """Release the space of removed entries and wake the requests that wait for them."""
        for receipt, removed in zip(items, results, strict=True):
            if removed is None:
                continue
            if removed.number:
                self._recent.remove(removed.number)
                self._usage.release(removed.sender, removed.size_bytes)
                self._waiters.wake(receipt.key)
            try:
                receipt.then()
            except Exception:  # the other receipts are to be handled, too
                log.exception("handling the receipt of batch %s failed", receipt.key.batch_id)

    def failed(self, items: Sequence[BatchReceipt], error: Exception) -> None:
        """Leave the batches in the outbox: they are published again, and get another receipt."""
        log.warning("%d receipts cannot be written to the outbox now: %s", len(items), error)
