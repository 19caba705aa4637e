"""What the gateway has accepted, durably, until a worker says that it is stored."""

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from ingest_api import fates
from ingest_api.fates import Fate, Known, Status
from ingest_api.fresh import Fresh, Waiting, first_of
from ingest_api.outbox_file import CHECKPOINT_PAGES, has_disk_for, locked, opened
from ingest_api.writer import Answer, Together, Writer
from shared.batch import ENVELOPE_BYTES, MAX_BYTES
from shared.clock import StrictClock
from shared.errors import Problem, Unavailable
from shared.moments import US_PER_S

log = logging.getLogger(__name__)

ENTRY_BYTES = 300
"""What a batch takes on the disk beyond its payload, with its fate: much, where each has one reading."""
LARGEST_BYTES = MAX_BYTES + ENVELOPE_BYTES + ENTRY_BYTES
PROBE_S = 3.0
_FIND = (
    "SELECT json_group_array(json_array(batch_id, number, hex(digest), length(payload))) FROM outbox"
    " WHERE batch_id IN (SELECT value FROM json_each(?))"
)
_TAKE = "DELETE FROM outbox WHERE number IN (SELECT value FROM json_each(?))"


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch to be accepted.

    Attributes:
        batch_id: its name.
        ship: its ship.
        readings: how many it has.
        digest: of its content; of two batches with one name it tells whether they are one.
        payload: the message to publish.

    """

    batch_id: UUID
    ship: int
    readings: int
    digest: bytes
    payload: bytes

    @property
    def accepted(self) -> Fate:
        """What became of it, once it is kept."""
        return Fate(self.batch_id, self.ship, self.readings, "accepted")

    @property
    def size_bytes(self) -> int:
        """How much of the outbox it takes."""
        return len(self.payload) + ENTRY_BYTES


class _Wish(NamedTuple):
    """A batch on its way in, and what its sender waits for."""

    entry: Entry
    answer: Answer


class _Word(NamedTuple):
    """What a worker says of a batch."""

    batch_id: UUID
    digest: bytes
    status: Status
    errors: str
    then: Callable[[], None]


class Outbox:
    """One SQLite file; safe to use from several threads, and for one process at a time."""

    def __init__(self, folder: Path, max_bytes: int, now_us: Callable[[], int] | None = None) -> None:
        """Open the file in a folder, and make it where it is missing.

        Raises:
            InvalidSettings: it cannot be used.
            Unavailable: the disk is full, or another program is writing it.

        """
        self._folder = folder
        self.max_bytes = max_bytes
        """How many bytes may wait, the 300 of each batch included."""
        self._now_us = now_us or StrictClock().now_us
        self._lock = threading.RLock()  # a signal's handler may need it, too, in whatever it interrupts
        self._waiters: dict[UUID, list[threading.Event]] = {}
        self._letting_go = False
        self._on_new: Callable[[], None] = lambda: None
        self._process_lock = locked(folder)
        try:
            self._file, self.name = opened(folder)
            counted = self._one("SELECT count(*), sum(length(payload)), max(number) FROM outbox", ()) or ()
            self._count, payload_bytes, last = (each or 0 for each in counted)
            self._bytes = payload_bytes + self._count * ENTRY_BYTES
        except BaseException:
            self._process_lock.close()
            raise
        self._fresh = Fresh(last)
        self._writer = Writer(self._file)
        self._wishes = Together(self._writer, self._insert, self._inserted)
        self._words = Together(self._writer, self._note, self._noted, makes_room=True)
        # Python's SQLite may be one that overwrites what is deleted: that doubles what a receipt has written.
        for setting in (f"wal_autocheckpoint={CHECKPOINT_PAGES}", "secure_delete=OFF"):
            self._writer.do(partial(_set, setting))

    def watch(self, on_new: Callable[[], None]) -> None:
        """Have somebody told, by another thread, whenever something new waits."""
        self._on_new = on_new

    def close(self) -> None:
        """Finish what is asked for, and close the file."""
        self.let_go()
        self._writer.close()
        self._file.close()
        self._process_lock.close()

    # --- what it tells

    @property
    def depth(self) -> int:
        """How many batches wait to be stored."""
        return self._count

    @property
    def size_bytes(self) -> int:
        """How many bytes these have."""
        return self._bytes

    def oldest_s(self) -> float:
        """Tell for how many seconds the oldest has been waiting; 0 where none is.

        Raises:
            Unavailable: the file cannot be read now.

        """
        row = self._one("SELECT accepted_us FROM outbox ORDER BY number LIMIT 1", ())
        return 0.0 if row is None else max((self._now_us() - row[0]) / US_PER_S, 0.0)

    def can_accept(self) -> bool:
        """Tell whether a batch of any size could be accepted now; writes to the disk to find out."""
        try:
            if not (self._has_room(LARGEST_BYTES) and has_disk_for(self._file, self._folder, LARGEST_BYTES)):
                return False
            self._writer.do(lambda connection: connection.execute("UPDATE names SET name = name")).result(PROBE_S)
        except (Unavailable, sqlite3.Error, TimeoutError):
            return False
        return True

    def fate(self, batch_id: UUID) -> Fate | None:
        """Tell what became of a batch; None where nothing is known of it."""
        known = self._known(batch_id)
        return None if known is None else known.fate

    def decided(self, batch_id: UUID, wait_s: float) -> Fate | None:
        """Wait for a batch to be stored or rejected, but no longer than that; tell what became of it so far."""
        is_decided = threading.Event()
        with self._lock:
            self._waiters.setdefault(batch_id, []).append(is_decided)
        try:
            found = self.fate(batch_id)  # after we are known: it may be decided just now
            if found and found.status == "accepted" and not self._letting_go and is_decided.wait(wait_s):
                found = self.fate(batch_id)
            return found
        finally:
            with self._lock:
                self._waiters[batch_id].remove(is_decided)
                if not self._waiters[batch_id]:
                    del self._waiters[batch_id]

    def let_go(self) -> None:
        """Have nobody wait any more: the process is to end."""
        self._letting_go = True
        with self._lock:
            for each in self._waiters.values():
                for waiter in each:
                    waiter.set()

    def waiting(self, after: int, limit: int, limit_bytes: int) -> list[Waiting]:
        """Give the first that wait and were accepted after a number; of more than one no more than that many bytes."""
        found = self._fresh.after(after, limit, limit_bytes)
        if found is None:
            with self._file.errors():
                rows = self._file.connection().execute(
                    "SELECT number, batch_id, ship, digest, payload FROM outbox WHERE number > ? ORDER BY number",
                    (after,),
                )
                found = first_of(map(Waiting._make, rows), limit, limit_bytes)
                rows.close()
        return found

    def _known(self, batch_id: UUID) -> Known | None:
        with self._file.errors(), self._file.reading() as connection:
            return fates.find(connection, batch_id)

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        with self._file.errors(), self._file.reading() as connection:
            row: tuple[Any, ...] | None = connection.execute(query, values).fetchone()
            return row

    # --- what changes it

    def accept(self, entry: Entry) -> tuple[Fate, bool]:
        """Keep a batch, durably; give what became of it so far, and whether it is a new one.

        Raises:
            Conflict: another batch has that name.
            Unavailable: there is no room, or the file cannot be written; nothing is kept.

        """
        if not self._reserve(entry.size_bytes):
            known = self._known(entry.batch_id)
            if known is None:
                raise Unavailable(f"the outbox is full: {self._count} batches of {self._bytes} bytes wait to be stored")
            return known.repeated(entry.ship, entry.digest), False
        is_new, wish = False, _Wish(entry, Answer())
        try:
            self._wishes.add(wish)
            found: Waiting | Known = wish.answer.result()
            is_new = isinstance(found, Waiting)
        finally:
            if not is_new:
                self._give_back(entry.size_bytes)
        return (found.repeated(entry.ship, entry.digest) if isinstance(found, Known) else entry.accepted), is_new

    def _reserve(self, size: int) -> bool:
        """Have the bytes of a batch count before they are on the disk; tell whether there is room."""
        with self._lock:
            has_room = self._has_room(size)
            if has_room:
                self._count, self._bytes = self._count + 1, self._bytes + size
            return has_room

    def _give_back(self, size: int) -> None:
        with self._lock:
            self._count, self._bytes = self._count - 1, self._bytes - size

    def _has_room(self, size: int) -> bool:
        return self._bytes + size <= self.max_bytes

    def _insert(self, connection: sqlite3.Connection, wishes: Sequence[_Wish]) -> list[Waiting | Known | Unavailable]:
        """Put batches in.

        Returns:
            For each the batch as it waits; or what is known of it, if there is one of its name; or why it is not kept.

        """
        if not has_disk_for(self._file, self._folder, sum(each.entry.size_bytes for each in wishes)):
            full = Unavailable(f"the disk of {self._folder} is full")
            return [fates.find(connection, each.entry.batch_id) or full for each in wishes]
        now_us = self._now_us()
        fates.forget(connection, now_us, len(wishes))
        return [self._put(connection, each.entry, now_us) for each in wishes]

    def _put(self, connection: sqlite3.Connection, entry: Entry, now_us: int) -> Waiting | Known:
        known = fates.begin(connection, entry.accepted, entry.digest, now_us)
        if known is not None:
            return known
        name = str(entry.batch_id)
        put = connection.execute(
            "INSERT INTO outbox (batch_id, ship, digest, accepted_us, payload) VALUES (?, ?, ?, ?, ?)",
            (name, entry.ship, entry.digest, now_us, entry.payload),
        )
        return Waiting(put.lastrowid or 0, name, entry.ship, entry.digest, entry.payload)

    def _inserted(
        self,
        wishes: Sequence[_Wish],
        found: Sequence[Waiting | Known | Unavailable] | None,
        error: Exception | None,
    ) -> None:
        """Learn, in the thread that writes, what a commit has made durable."""
        answers = [error] * len(wishes) if found is None else found
        new = [each for each in answers if isinstance(each, Waiting)]
        try:
            if new:
                self._fresh.add(new)
                self._on_new()
        finally:
            for wish, each in zip(wishes, answers, strict=True):
                if isinstance(each, Exception):
                    wish.answer.give(None, each)
                else:
                    wish.answer.give(each)

    def decide(
        self, batch_id: UUID, digest: bytes, status: Status, problems: tuple[Problem, ...], then: Callable[[], None]
    ) -> None:
        """Note what a worker says of a batch that waits; `then` is called, by another thread, once that is durable.

        Of a batch that does not wait nothing is noted, and `then` is called all the same. One that waits with another
        content goes on waiting, and nothing is called.
        """
        self._words.add(_Word(batch_id, digest, status, fates.written(problems), then))

    def _note(self, connection: sqlite3.Connection, words: Sequence[_Word]) -> list[int | None]:
        """Take batches out, and keep what became of them.

        Returns:
            How large each was: 0 where it did not wait, None where one with another content waits under its name.

        """
        names = json.dumps([str(each.batch_id) for each in words])
        ((rows,),) = connection.execute(_FIND, (names,))
        waiting = {name: (number, digest, size) for name, number, digest, size in json.loads(rows)}
        sizes: list[int | None] = []
        told: list[tuple[int, _Word]] = []
        for word in words:
            number, digest, size = waiting.get(str(word.batch_id), (0, "", 0))
            if not number:
                sizes.append(0)
            elif digest != word.digest.hex().upper():
                sizes.append(None)
            else:
                del waiting[str(word.batch_id)]
                told.append((number, word))
                sizes.append(size + ENTRY_BYTES)
        if told:
            connection.execute(_TAKE, (json.dumps([number for number, _ in told]),))
            fates.decide(connection, [(each.batch_id, each.status, each.errors) for _, each in told], self._now_us())
        return sizes

    def _noted(self, words: Sequence[_Word], sizes: list[int | None] | None, error: Exception | None) -> None:
        if sizes is None:
            log.warning("what became of %d batches cannot be noted now: %s", len(words), error)
            return
        for word, size in zip(words, sizes, strict=True):
            if size:
                self._removed(word.batch_id, size)
            if size is not None:
                word.then()

    def _removed(self, batch_id: UUID, size: int) -> None:
        self._fresh.remove(str(batch_id))
        self._give_back(size)
        with self._lock:
            for each in self._waiters.get(batch_id, ()):
                each.set()


def _set(setting: str, connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA {setting}")
