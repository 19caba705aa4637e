"""Inserts accepted batches into the outbox."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from ingest_api.outbox import batch_status
from ingest_api.outbox.batch_status import KnownBatch
from ingest_api.outbox.commit_queue import Answer
from ingest_api.outbox.entry import Entry, WaitingEntry
from ingest_api.outbox.file import has_disk_for
from ingest_api.outbox.recent_entries import RecentEntries
from shared.domain.errors import Unavailable
from shared.runtime.sqlite_files import SqliteFile

_INSERT = "INSERT INTO outbox (batch_id, ship, sender, digest, accepted_us, payload) VALUES (?, ?, ?, ?, ?, ?)"

Inserted = WaitingEntry | KnownBatch | Unavailable
"""The new entry; the batch that it duplicates or conflicts with; or why it was not inserted."""


class AcceptRequest(NamedTuple):
    """A batch to be inserted, and the answer that its sender waits for."""

    entry: Entry
    answer: Answer


class EntryWriter:
    """Inserts the entries of one commit."""

    makes_room = False

    def __init__(self, file: SqliteFile, folder: Path, recent: RecentEntries, now_us: Callable[[], int]) -> None:
        """Prepare.

        Args:
            file: the outbox's file, in `folder`.
            folder: where the file is.
            recent: receives the new entries.
            now_us: the clock.

        """
        self.on_new: Callable[[], None] = lambda: None
        """Called when new entries are durable."""
        self._file = file
        self._folder = folder
        self._recent = recent
        self._now_us = now_us

    def write(self, connection: sqlite3.Connection, items: Sequence[AcceptRequest]) -> list[Inserted]:
        """Insert entries, if the disk has room for all of them."""
        entries = [each.entry for each in items]
        if not has_disk_for(self._file, self._folder, sum(each.size_bytes for each in entries)):
            full = Unavailable(f"the disk of {self._folder} is full")
            return [batch_status.find_duplicate(connection, each.key, each.access.may_send) or full for each in entries]
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

    def committed(self, items: Sequence[AcceptRequest], results: Sequence[Inserted]) -> None:
        """Have the new entries published, and answer all requests."""
        new = [each for each in results if isinstance(each, WaitingEntry)]
        try:
            if new:
                self._recent.add(new)
                self.on_new()
        finally:
            for request, result in zip(items, results, strict=True):
                if isinstance(result, Unavailable):
                    request.answer.set(None, result)
                else:
                    request.answer.set(result)

    def failed(self, items: Sequence[AcceptRequest], error: Exception) -> None:
        """Pass the error on to the requests."""
        for request in items:
            request.answer.set(None, error)
