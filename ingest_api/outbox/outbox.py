"""What the gateway has accepted, durably, until a worker says that it is stored."""

import json
import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from ingest_api.outbox import batch_status
from ingest_api.outbox.batch_status import BatchKey, Fate, Known, Status
from ingest_api.outbox.capacity import Usage
from ingest_api.outbox.commit_queue import Answer, Together, Writer
from ingest_api.outbox.file import CHECKPOINT_PAGES, has_disk_for, locked, opened, write_nothing_new
from ingest_api.outbox.recent_entries import Fresh, Waiting, first_of
from shared.contract.batch import ENVELOPE_BYTES, MAX_BYTES
from shared.domain.clock import StrictClock
from shared.domain.errors import Problem, Unavailable
from shared.domain.timestamps import US_PER_S
from shared.http.tokens import EVERYTHING, Access

log = logging.getLogger(__name__)

ENTRY_BYTES = 300
"""What a batch takes on the disk beyond its payload, with its fate: much, where each has one reading."""
LARGEST_BYTES = MAX_BYTES + ENVELOPE_BYTES + ENTRY_BYTES
PROBE_S = 3.0
_FIND = (
    "SELECT json_group_array(json_array(ship, batch_id, number, hex(digest), sender, length(payload))) FROM outbox"
    " WHERE batch_id IN (SELECT value FROM json_each(?))"
)
_TAKE = "DELETE FROM outbox WHERE number IN (SELECT value FROM json_each(?))"
_BY_SENDER = "SELECT sender, count(*), sum(length(payload)) FROM outbox GROUP BY sender"
_OF_ALL = "SELECT number, batch_id, ship, digest, payload FROM outbox WHERE number > ? ORDER BY number"
_OF_OTHERS = (
    "SELECT number, batch_id, ship, digest, payload FROM outbox"
    " WHERE number > ? AND ship NOT IN (SELECT value FROM json_each(?)) ORDER BY number"
)
_OF_SHIP = (
    "SELECT number, batch_id, ship, digest, payload FROM outbox"
    " WHERE ship = ? AND number > ? AND number <= ? ORDER BY number"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A batch to be accepted.

    Attributes:
        batch_id: its name.
        ship: its ship.
        readings: how many it has.
        digest: of its content; of two batches with one name it tells whether they are one.
        payload: the message to publish.
        access: what its sender may do, and the name of its token.

    """

    batch_id: UUID
    ship: int
    readings: int
    digest: bytes
    payload: bytes
    access: Access = EVERYTHING

    @property
    def key(self) -> BatchKey:
        """What identifies it."""
        return BatchKey(self.ship, str(self.batch_id))

    @property
    def sender(self) -> str:
        """Whose quota it counts for."""
        return self.access.sender(self.ship)

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

    key: BatchKey
    digest: bytes
    status: Status
    errors: str
    then: Callable[[], None]


class _Removed(NamedTuple):
    """Of a batch that was taken out its number, its sender and its size; 0 where it did not wait."""

    number: int = 0
    sender: str = ""
    size_bytes: int = 0


class Outbox:
    """One SQLite file; safe to use from several threads, and for one process at a time."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        max_sender_bytes: int | None = None,
        *,
        now_us: Callable[[], int] | None = None,
    ) -> None:
        """Open the file in a folder, and make it where it is missing.

        Args:
            folder: where it is.
            max_bytes: how many bytes may wait, the 300 of each batch included.
            max_sender_bytes: how many of them of one sender; half of them where it is left out. One batch of full size
                is within every quota.
            now_us: the clock.

        Raises:
            InvalidSettings: it cannot be used.
            Unavailable: the disk is full, or another program is writing it.

        """
        self._folder = folder
        self._now_us = now_us or StrictClock().now_us
        self._lock = threading.RLock()  # a signal's handler may need it, too, in whatever it interrupts
        self._waiters: dict[BatchKey, list[threading.Event]] = {}
        self._letting_go = False
        self._on_new: Callable[[], None] = lambda: None
        self._process_lock = locked(folder)
        try:
            self._file = opened(folder)
            self._usage = Usage(
                max_bytes,
                max(max_bytes // 2 if max_sender_bytes is None else max_sender_bytes, LARGEST_BYTES),
                self._by_sender(),
            )
            (last,) = self._one("SELECT max(number) FROM outbox", ()) or (None,)
        except BaseException:
            self._process_lock.close()
            raise
        self._fresh = Fresh(last or 0)
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
        return self._usage.batches

    @property
    def size_bytes(self) -> int:
        """How many bytes these have."""
        return self._usage.size_bytes

    @property
    def max_bytes(self) -> int:
        """How many bytes may wait."""
        return self._usage.max_bytes

    @property
    def newest(self) -> int:
        """The number of the newest batch that `waiting` has given or would give, if it still waits."""
        return self._fresh.newest

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
            if not (self._usage.has_room(LARGEST_BYTES) and has_disk_for(self._file, self._folder, LARGEST_BYTES)):
                return False
            self._writer.do(write_nothing_new).result(PROBE_S)
        except (Unavailable, sqlite3.Error, TimeoutError):
            return False
        return True

    def fate(self, batch_id: UUID, access: Access = EVERYTHING) -> Fate | None:
        """Tell what became of a batch; None where nothing is known of it, or not to whoever may send for other ships.

        Of batches of several ships, all with this `batch_id`, the one of the lowest ship.
        """
        return self._fate(str(batch_id), access.may_send)

    def decided(self, key: BatchKey, wait_s: float) -> Fate | None:
        """Wait for a batch to be stored or rejected, but no longer than that; tell what became of it so far."""
        is_decided = threading.Event()
        with self._lock:
            self._waiters.setdefault(key, []).append(is_decided)
        try:
            found = self._fate(key.batch_id, key.ship.__eq__)  # after we are known: it may be decided just now
            if found and found.status == "accepted" and not self._letting_go and is_decided.wait(wait_s):
                found = self._fate(key.batch_id, key.ship.__eq__)
            return found
        finally:
            with self._lock:
                self._waiters[key].remove(is_decided)
                if not self._waiters[key]:
                    del self._waiters[key]

    def let_go(self) -> None:
        """Have nobody wait any more: the process is to end."""
        self._letting_go = True
        with self._lock:
            for each in self._waiters.values():
                for waiter in each:
                    waiter.set()

    def waiting(self, after: int, limit: int, limit_bytes: int, passing_over: Collection[int] = ()) -> list[Waiting]:
        """Give the first that wait and were accepted after a number; of more than one no more than that many bytes.

        Args:
            after: the number.
            limit: how many at most.
            limit_bytes: how many bytes their payloads have at most.
            passing_over: ships whose batches are left out; their payloads are not read.

        """
        found = self._fresh.after(after, limit, limit_bytes, passing_over)
        if found is not None:
            return found
        if passing_over:
            return self._read(_OF_OTHERS, (after, json.dumps(list(passing_over))), limit, limit_bytes)
        return self._read(_OF_ALL, (after,), limit, limit_bytes)

    def waiting_of(self, ship: int, after: int, until: int, limit: int, limit_bytes: int) -> list[Waiting]:
        """Give the first of one ship with numbers above `after` and up to `until`, within limits as `waiting` has."""
        return self._read(_OF_SHIP, (ship, after, until), limit, limit_bytes)

    def _read(self, query: str, values: tuple[object, ...], limit: int, limit_bytes: int) -> list[Waiting]:
        with self._file.errors():
            rows = self._file.connection().execute(query, values)
            found = first_of(map(Waiting._make, rows), limit, limit_bytes)
            rows.close()
            return found

    def _fate(self, batch_id: str, may_see: Callable[[int], bool]) -> Fate | None:
        with self._file.errors(), self._file.reading() as connection:
            found = batch_status.find(connection, batch_id, may_see)
        return found[0].fate if found else None

    def _duplicate(self, entry: Entry) -> Known | None:
        with self._file.errors(), self._file.reading() as connection:
            return batch_status.duplicate(connection, entry.key, entry.access.may_send)

    def _by_sender(self) -> list[tuple[str, int, int]]:
        with self._file.errors(), self._file.reading() as connection:
            return [
                (sender, count, size + count * ENTRY_BYTES) for sender, count, size in connection.execute(_BY_SENDER)
            ]

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        with self._file.errors(), self._file.reading() as connection:
            row: tuple[Any, ...] | None = connection.execute(query, values).fetchone()
            return row

    # --- what changes it

    def accept(self, entry: Entry) -> tuple[Fate, bool]:
        """Keep a batch, durably; give what became of it so far, and whether it is a new one.

        Raises:
            Conflict: another batch has that name.
            QuotaFull: its sender has too much waiting; nothing is kept.
            Unavailable: there is no room, or the file cannot be written; nothing is kept.

        """
        try:
            self._usage.reserve(entry.sender, entry.size_bytes)
        except Unavailable:
            known = self._duplicate(entry)
            if known is None:
                raise
            return known.repeated(entry.ship, entry.digest), False
        is_new, wish = False, _Wish(entry, Answer())
        try:
            self._wishes.add(wish)
            found: Waiting | Known = wish.answer.result()
            is_new = isinstance(found, Waiting)
        finally:
            if not is_new:
                self._usage.give_back(entry.sender, entry.size_bytes)
        return (found.repeated(entry.ship, entry.digest) if isinstance(found, Known) else entry.accepted), is_new

    def _insert(self, connection: sqlite3.Connection, wishes: Sequence[_Wish]) -> list[Waiting | Known | Unavailable]:
        """Put batches in.

        Returns:
            For each the batch as it waits; or what is known of it, if there is one of its name; or why it is not kept.

        """
        if not has_disk_for(self._file, self._folder, sum(each.entry.size_bytes for each in wishes)):
            full = Unavailable(f"the disk of {self._folder} is full")
            return [
                batch_status.duplicate(connection, each.entry.key, each.entry.access.may_send) or full
                for each in wishes
            ]
        now_us = self._now_us()
        batch_status.forget(connection, now_us, len(wishes))
        return [self._put(connection, each.entry, now_us) for each in wishes]

    def _put(self, connection: sqlite3.Connection, entry: Entry, now_us: int) -> Waiting | Known:
        known = batch_status.begin(connection, entry.accepted, entry.digest, now_us, entry.access.may_send)
        if known is not None:
            return known
        name = str(entry.batch_id)
        put = connection.execute(
            "INSERT INTO outbox (batch_id, ship, sender, digest, accepted_us, payload) VALUES (?, ?, ?, ?, ?, ?)",
            (name, entry.ship, entry.sender, entry.digest, now_us, entry.payload),
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
        self, key: BatchKey, digest: bytes, status: Status, problems: tuple[Problem, ...], then: Callable[[], None]
    ) -> None:
        """Note what a worker says of a batch that waits; `then` is called, by another thread, once that is durable.

        Of a batch that does not wait nothing is noted, and `then` is called all the same. One that waits with another
        content goes on waiting, and nothing is called.
        """
        self._words.add(_Word(key, digest, status, batch_status.written(problems), then))

    def _note(self, connection: sqlite3.Connection, words: Sequence[_Word]) -> list[_Removed | None]:
        """Take batches out, and keep what became of them.

        Returns:
            What was taken out for each; None where one with another content waits under its name.

        """
        names = json.dumps([each.key.batch_id for each in words])
        ((rows,),) = connection.execute(_FIND, (names,))
        waiting = {(ship, name): found for ship, name, *found in json.loads(rows)}
        removed: list[_Removed | None] = []
        told: list[tuple[int, _Word]] = []
        for word in words:
            number, digest, sender, size = waiting.get(word.key, (0, "", "", 0))
            if not number:
                removed.append(_Removed())
            elif digest != word.digest.hex().upper():
                removed.append(None)
            else:
                del waiting[word.key]
                told.append((number, word))
                removed.append(_Removed(number, sender, size + ENTRY_BYTES))
        if told:
            connection.execute(_TAKE, (json.dumps([number for number, _ in told]),))
            batch_status.decide(connection, [(each.key, each.status, each.errors) for _, each in told], self._now_us())
        return removed

    def _noted(self, words: Sequence[_Word], removed: list[_Removed | None] | None, error: Exception | None) -> None:
        if removed is None:
            log.warning("what became of %d batches cannot be noted now: %s", len(words), error)
            return
        for word, each in zip(words, removed, strict=True):
            if each is not None:
                if each.number:
                    self._removed(word.key, each)
                word.then()

    def _removed(self, key: BatchKey, removed: _Removed) -> None:
        self._fresh.remove(removed.number)
        self._usage.give_back(removed.sender, removed.size_bytes)
        with self._lock:
            for each in self._waiters.get(key, ()):
                each.set()


def _set(setting: str, connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA {setting}")
