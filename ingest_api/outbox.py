"""What the gateway has accepted, durably, until a worker says that it is stored; and what became of it."""

import json
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from secrets import token_hex
from typing import Any, Literal, NamedTuple
from uuid import UUID

from shared.clock import StrictClock
from shared.errors import Conflict, Problem, Unavailable
from shared.moments import US_PER_S
from shared.sqlite_files import SqliteFile

FILE_NAME = "outbox.sqlite"
_SCHEMA = Path(__file__).with_name("outbox_schema.sql")
_VERSION = 1
KEPT_US = 2 * 86_400 * US_PER_S
"""How long what became of a batch is known, at least, from its acceptance on."""
TOGETHER = 500
FORGOTTEN_AT_ONCE = 1000

Status = Literal["accepted", "stored", "rejected"]


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


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a batch; `problems` say why it was rejected."""

    batch_id: UUID
    ship: int
    readings: int
    status: Status
    problems: tuple[Problem, ...] = ()


class Waiting(NamedTuple):
    """One that waits to be stored; `number` tells the order in which they were accepted."""

    number: int
    batch_id: str
    ship: int
    digest: bytes
    payload: bytes


_Work = Callable[[sqlite3.Connection], Any]


class Outbox:
    """One SQLite file; safe to use from several threads.

    All that changes it is done by one thread, and what comes while that commits is committed together.
    """

    def __init__(self, folder: Path, max_bytes: int, clock: StrictClock | None = None) -> None:
        """Open the file in a folder, and make it where it is missing.

        Raises:
            InvalidSettings: it cannot be used.

        """
        self._file = SqliteFile(folder / FILE_NAME, _SCHEMA.read_text("utf-8"), _VERSION)
        self._max_bytes = max_bytes
        self._clock = clock or StrictClock()
        self._decided = threading.Condition()
        self._size_lock = threading.Lock()
        self.name = self._given_name()
        with self._file.errors():
            sizes = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM outbox"
            counted: tuple[int, int] = self._file.connection().execute(sizes).fetchone()
        self._count, self._bytes = counted
        self._work: SimpleQueue[tuple[_Work, Future[Any]] | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="outbox", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Finish what is asked for, and close the file."""
        self._work.put(None)
        self._writer.join()
        self._file.close()

    def _given_name(self) -> str:
        """Give the name that the file was given when it was made: under it the workers answer, whoever has it open."""
        with self._file.transaction() as connection:
            connection.execute("INSERT INTO names SELECT ? WHERE NOT EXISTS (SELECT 1 FROM names)", (token_hex(8),))
            return str(connection.execute("SELECT name FROM names").fetchone()[0])

    # --- what it tells

    @property
    def depth(self) -> int:
        """How many batches wait to be stored."""
        return self._count

    @property
    def size_bytes(self) -> int:
        """How many bytes these have."""
        return self._bytes

    def has_room(self) -> bool:
        """Tell whether there is room for another batch."""
        return self._bytes < self._max_bytes

    def oldest_s(self) -> float:
        """Tell for how many seconds the oldest has been waiting; 0 where none is."""
        row = self._one("SELECT accepted_us FROM outbox ORDER BY number LIMIT 1", ())
        return 0.0 if row is None else max((self._clock.now_us() - row[0]) / US_PER_S, 0.0)

    def fate(self, batch_id: UUID) -> Fate | None:
        """Tell what became of a batch; None where nothing is known of it."""
        row = self._one("SELECT ship, readings, status, errors FROM fates WHERE batch_id = ?", (str(batch_id),))
        if row is None:
            return None
        ship, readings, status, errors = row
        return Fate(batch_id, ship, readings, status, tuple(Problem(*each) for each in json.loads(errors)))

    def decided(self, batch_id: UUID, wait_s: float) -> Fate | None:
        """Wait for a batch to be stored or rejected, but no longer than that; tell what became of it so far."""
        found: Fate | None = None

        def is_decided() -> bool:
            nonlocal found
            found = self.fate(batch_id)
            return found is None or found.status != "accepted"

        with self._decided:
            self._decided.wait_for(is_decided, wait_s)
        return found

    def waiting(self, after: int, limit: int) -> list[Waiting]:
        """Give the first that wait and were accepted after a number."""
        with self._file.errors():
            rows = self._file.connection().execute(
                "SELECT number, batch_id, ship, digest, payload FROM outbox WHERE number > ? ORDER BY number LIMIT ?",
                (after, limit),
            )
            return [Waiting(*row) for row in rows]

    def _one(self, query: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        with self._file.errors():
            row: tuple[Any, ...] | None = self._file.connection().execute(query, values).fetchone()
            return row

    # --- what changes it

    def accept(self, entry: Entry) -> Fate:
        """Keep a batch, durably; give what became of it, if it is known already.

        Raises:
            Conflict: another batch has that name.
            Unavailable: there is no room, or the file cannot be written; nothing is kept.

        """
        with self._size_lock:
            if self._bytes + len(entry.payload) > self._max_bytes:
                raise Unavailable(f"the outbox is full: {self._bytes} bytes wait to be stored")
            self._count, self._bytes = self._count + 1, self._bytes + len(entry.payload)
        is_new = False
        try:
            is_new, (ship, digest) = self._do(lambda connection: self._insert(connection, entry)).result()
        finally:
            if not is_new:
                self._shrink(len(entry.payload))
        if (ship, digest) != (entry.ship, entry.digest):
            raise Conflict(f"batch_id {entry.batch_id} is that of another batch")
        known = None if is_new else self.fate(entry.batch_id)
        return known or Fate(entry.batch_id, entry.ship, entry.readings, "accepted")

    def _insert(self, connection: sqlite3.Connection, entry: Entry) -> tuple[bool, tuple[int, bytes]]:
        name, now_us = str(entry.batch_id), self._clock.now_us()
        inserted = connection.execute(
            "INSERT INTO fates VALUES (?, ?, ?, ?, 'accepted', '[]', ?) ON CONFLICT DO NOTHING",
            (name, entry.ship, entry.digest, entry.readings, now_us),
        )
        if not inserted.rowcount:
            known = connection.execute("SELECT ship, digest FROM fates WHERE batch_id = ?", (name,)).fetchone()
            return False, known
        connection.execute(
            "INSERT INTO outbox (batch_id, ship, digest, accepted_us, payload) VALUES (?, ?, ?, ?, ?)",
            (name, entry.ship, entry.digest, now_us, entry.payload),
        )
        return True, (entry.ship, entry.digest)

    def decide(
        self, batch_id: UUID, digest: bytes, status: Status, problems: tuple[Problem, ...], then: Callable[[], None]
    ) -> None:
        """Note what a worker says of a batch that waits; `then` is called, by another thread, once that is durable.

        Of a batch that is not known, or has another content, nothing is noted.
        """

        def work(connection: sqlite3.Connection) -> int | None:
            gone = connection.execute(
                "DELETE FROM outbox WHERE batch_id = ? AND digest = ? RETURNING length(payload)",
                (str(batch_id), digest),
            ).fetchone()
            if gone is None:
                return None
            connection.execute(
                "UPDATE fates SET status = ?, errors = ? WHERE batch_id = ?",
                (status, json.dumps([[each.at, each.problem] for each in problems]), str(batch_id)),
            )
            return int(gone[0])

        def done(future: Future[int | None]) -> None:
            if future.exception() is None:
                if (size := future.result()) is not None:
                    self._shrink(size)
                then()

        self._do(work).add_done_callback(done)

    def _shrink(self, size: int) -> None:
        with self._size_lock:
            self._count, self._bytes = self._count - 1, self._bytes - size

    def _do(self, work: _Work) -> Future[Any]:
        future: Future[Any] = Future()
        self._work.put((work, future))
        return future

    def _write(self) -> None:
        while (first := self._work.get()) is not None:
            together = [first]
            while len(together) < TOGETHER and not self._work.empty():
                more = self._work.get()
                if more is None:
                    self._work.put(None)  # again, for the outer loop
                    break
                together.append(more)
            self._commit(together)

    def _commit(self, together: list[tuple[_Work, Future[Any]]]) -> None:
        results: list[Any] = []
        try:
            with self._file.transaction() as connection:
                results = [work(connection) for work, _ in together]
                connection.execute(
                    "DELETE FROM fates WHERE batch_id IN (SELECT batch_id FROM fates"
                    " WHERE status <> 'accepted' AND accepted_us < ? LIMIT ?)",
                    (self._clock.now_us() - KEPT_US, FORGOTTEN_AT_ONCE),
                )
        except Exception as error:  # noqa: BLE001  # whoever waits for it is told
            for _, future in together:
                future.set_exception(error)
        else:
            for (_, future), result in zip(together, results, strict=True):
                future.set_result(result)
            with self._decided:
                self._decided.notify_all()
