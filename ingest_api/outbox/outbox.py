"""The outbox: accepted batches, durably on disk until the worker's receipt comes."""

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from queue import Empty
from uuid import UUID

from ingest_api.outbox import batch_status
from ingest_api.outbox.batch_status import KnownBatch
from ingest_api.outbox.capacity import Usage
from ingest_api.outbox.commit_queue import CommitQueue
from ingest_api.outbox.entry import ENTRY_BYTES, MAX_ENTRY_BYTES, Entry, WaitingEntry, first_within
from ingest_api.outbox.file import CHECKPOINT_PAGES, has_disk_for, lock_folder, open_file, rewrite_version
from ingest_api.outbox.recent_entries import RecentEntries
from ingest_api.outbox.waiters import Waiters
from ingest_api.outbox.writers import BatchReceipt, BodyWriter, EntryWriter, Inserted, ReceiptWriter
from shared.contract.status import BatchKey, BatchStatus, FinalStatus
from shared.domain.clock import StrictClock
from shared.domain.errors import Problem, Unavailable
from shared.domain.timestamps import US_PER_S
from shared.http.tokens import EVERYTHING, Access

WRITE_TEST_S = 3.0
_BY_SENDER = "SELECT sender, count(*), sum(length(payload) + ?) FROM outbox GROUP BY sender"
_OF_OTHERS = (
    "SELECT number, batch_id, ship, digest, payload FROM outbox"
    " WHERE number > ? AND ship NOT IN (SELECT value FROM json_each(?)) ORDER BY number"
)
_OF_SHIP = (
    "SELECT number, batch_id, ship, digest, payload FROM outbox"
    " WHERE ship = ? AND number > ? AND number <= ? ORDER BY number"
)


class Outbox:
    """One SQLite file; safe to use from several threads of one process."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        max_sender_bytes: int | None = None,
        *,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        """Open the file in a folder, or create it.

        Args:
            folder: where the file is.
            max_bytes: how much may wait; each batch counts with its payload and 300 bytes.
            max_sender_bytes: how much may wait of one sender, by default half of `max_bytes`; at least one batch of
                the largest size.
            now_us: the clock.

        Raises:
            InvalidSettings: the folder or the file cannot be used.
            Unavailable: the disk is full, or another program is writing the file.

        """
        self._folder = folder
        self._now_us = now_us or StrictClock().now_us
        self._process_lock = lock_folder(folder)
        try:
            self._file = open_file(folder)
            quota = max(max_bytes // 2 if max_sender_bytes is None else max_sender_bytes, MAX_ENTRY_BYTES)
            with self._file.reading() as connection:
                self._usage = Usage(max_bytes, quota, connection.execute(_BY_SENDER, (ENTRY_BYTES,)))
                (last,) = connection.execute("SELECT ifnull(max(number), 0) FROM outbox").fetchone()
        except BaseException:
            self._process_lock.close()
            raise
        self._waiters = Waiters()
        self._recent = RecentEntries(last)
        self._queue = CommitQueue(self._file)
        self._entries = EntryWriter(self._file, folder, self._recent, self._now_us)
        self._bodies = BodyWriter(self._file, folder, self._recent, self._now_us)
        self._receipts = ReceiptWriter(self._recent, self._usage, self._waiters, self._now_us)
        self._queue.call(_configure)

    def watch(self, on_new: Callable[[], None]) -> None:
        """Have a function called, by another thread, whenever there are new entries."""
        self._entries.on_new = self._bodies.on_new = on_new

    def close(self) -> None:
        """Commit what is queued, and close the file."""
        self.stop_waiting()
        self._queue.close()
        self._file.close()
        self._process_lock.close()

    # --- reading

    @property
    def depth(self) -> int:
        """The number of batches that wait to be stored."""
        return self._usage.batches

    @property
    def size_bytes(self) -> int:
        """Their size."""
        return self._usage.size_bytes

    @property
    def max_bytes(self) -> int:
        """The size that they may have."""
        return self._usage.max_bytes

    @property
    def newest(self) -> int:
        """The number of the newest entry that `waiting` has returned, or would return if it still waits."""
        return self._recent.newest

    def oldest_s(self) -> float:
        """Return for how many seconds the oldest batch has been waiting; 0 if none waits.

        Raises:
            Unavailable: the file cannot be read now.

        """
        with self._file.reading() as connection:
            row = connection.execute("SELECT accepted_us FROM outbox ORDER BY number LIMIT 1").fetchone()
        return 0.0 if row is None else max((self._now_us() - row[0]) / US_PER_S, 0.0)

    def can_accept(self) -> bool:
        """Return whether a batch of the largest size could be accepted now; this writes to the disk."""
        try:
            if not (self._usage.has_room(MAX_ENTRY_BYTES) and has_disk_for(self._file, self._folder, MAX_ENTRY_BYTES)):
                return False
            self._queue.call(rewrite_version).result(WRITE_TEST_S)
        except (Unavailable, sqlite3.Error, Empty):
            return False
        return True

    def status(self, batch_id: UUID, access: Access = EVERYTHING) -> BatchStatus | None:
        """Return the status of a batch; None where it is unknown, or of a ship that `access` does not include.

        If several ships have a batch with this `batch_id`, it is the one of the lowest ship.
        """
        return self._status(str(batch_id), access.may_send)

    def await_decision(self, key: BatchKey, wait_s: float) -> BatchStatus | None:
        """Wait until a batch is stored or rejected, for at most `wait_s`; return its status."""
        with self._waiters.waiting_for(key) as decided:  # before the status is read: the receipt may come right after
            found = self._status(key.batch_id, key.ship.__eq__)
            if found and found.status == "accepted" and decided.wait(wait_s):
                found = self._status(key.batch_id, key.ship.__eq__)
            return found

    def stop_waiting(self) -> None:
        """End all `await_decision`: the process is about to end. May be called from a signal handler."""
        self._waiters.stop()

    def waiting(
        self, after: int, limit: int, limit_bytes: int, without_ships: Collection[int] = ()
    ) -> list[WaitingEntry]:
        """Return the first entries with a number above `after`, as `first_within` limits them.

        Those of `without_ships` are left out; their payloads are not read.
        """
        found = self._recent.after(after, limit, limit_bytes, without_ships)
        if found is None:
            found = self._read(_OF_OTHERS, (after, json.dumps(list(without_ships))), limit, limit_bytes)
        return found

    def waiting_of(self, ship: int, after: int, until: int, limit: int, limit_bytes: int) -> list[WaitingEntry]:
        """Return a ship's first entries with numbers above `after` and up to `until`; limits as in `waiting`."""
        return self._read(_OF_SHIP, (ship, after, until), limit, limit_bytes)

    def _read(self, query: str, values: tuple[object, ...], limit: int, limit_bytes: int) -> list[WaitingEntry]:
        with self._file.errors():
            rows = self._file.connection().execute(query, values)
            found = first_within(map(WaitingEntry._make, rows), limit, limit_bytes)
            rows.close()
            return found

    def _status(self, batch_id: str, may_see: Callable[[int], bool]) -> BatchStatus | None:
        with self._file.reading() as connection:
            found = batch_status.find(connection, batch_id, may_see)
        return found[0].batch if found else None

    # --- writing

    def accept(self, entry: Entry) -> tuple[BatchStatus, bool]:
        """Accept a batch durably; return its status, and whether it is new.

        Raises:
            Conflict: another batch has this `batch_id`.
            QuotaFull: the sender's quota is used up; the batch is not accepted.
            Unavailable: there is no room, or the file cannot be written; the batch is not accepted.

        """
        try:
            self._usage.reserve(entry.sender, entry.size_bytes)
        except Unavailable:
            with self._file.reading() as connection:
                known = batch_status.find_duplicate(connection, entry.key, entry.digest, entry.access.may_send)
            if known is None:
                raise
            return known.status_for(entry.ship, entry.digest), False
        is_new = False
        try:
            found: Inserted = self._queue.ask(self._entries, entry).result()
            is_new = isinstance(found, WaitingEntry)
        finally:
            if not is_new:
                self._usage.release(entry.sender, entry.size_bytes)
        return (found.status_for(entry.ship, entry.digest) if isinstance(found, KnownBatch) else entry.accepted), is_new

    def accept_all(self, entries: Sequence[Entry]) -> list[tuple[BatchStatus, bool]]:
        """Accept batches durably, all of them or none; return for each what `accept` returns, and raise as it does."""
        reserved: list[Entry] = []
        try:
            for each in entries:
                self._usage.reserve(each.sender, each.size_bytes)
                reserved.append(each)
            found: list[WaitingEntry | KnownBatch] = self._queue.ask(self._bodies, entries).result()
            of_entries = list(zip(entries, found, strict=True))
            reserved = [each for each, known in of_entries if isinstance(known, KnownBatch)]
        finally:
            for each in reserved:
                self._usage.release(each.sender, each.size_bytes)
        return [
            (known.batch, False) if isinstance(known, KnownBatch) else (each.accepted, True)
            for each, known in of_entries
        ]

    def decide(  # noqa: PLR0913, PLR0917  # the members of a receipt
        self,
        key: BatchKey,
        digest: bytes,
        status: FinalStatus,
        problems: tuple[Problem, ...],
        then: Callable[[], None],
        superseded: int = 0,
    ) -> None:
        """Apply a receipt: record the status of a batch and remove it from the outbox.

        Another thread calls `then` once that is durable. For a batch that does not wait nothing is recorded, and `then`
        is called as well. A batch that waits with other content than that of `digest` goes on waiting, and `then` is
        not called.
        """
        self._queue.put(self._receipts, BatchReceipt(key, digest, status, problems, then, superseded))


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    # Some builds of SQLite overwrite deleted rows by default: that doubles what a receipt writes.
    connection.execute("PRAGMA secure_delete=OFF")
