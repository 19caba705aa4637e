"""One thread that writes a SQLite file: whatever is queued while it commits shares the next commit."""

import logging
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

from shared.domain.errors import Unavailable
from shared.runtime.sqlite_files import SqliteFile

log = logging.getLogger(__name__)

MAX_ITEMS = 1000
"""Items in one commit."""

Work = Callable[[sqlite3.Connection], Any]


class Answer(SimpleQueue[Any]):
    """The result that one thread waits for. It costs a third of what a `Future` costs."""

    def result(self, timeout_s: float | None = None) -> Any:
        """Wait for the result and return it; raise it if it is an error.

        Raises:
            Empty: it takes too long.

        """
        found = self.get(timeout=timeout_s)
        if isinstance(found, Exception):
            raise found
        return found


class Request(NamedTuple):
    """An item whose result a thread waits for."""

    what: Any
    answer: Answer


class Writer(ABC):
    """Writes items of one kind. Only the queue's thread calls it.

    Attributes:
        makes_room: the items delete rows. If a commit finds no room on the disk, they are written alone.

    """

    makes_room = False

    @abstractmethod
    def write(self, connection: sqlite3.Connection, items: Sequence[Any]) -> Sequence[Any]:
        """Write all items of one commit, with few statements; return a result for each."""

    def committed(self, items: Sequence[Any], results: Sequence[Any]) -> None:
        """Handle that the items are durable; by default they are requests."""
        for request, result in zip(items, results, strict=True):
            request.answer.put(result)

    def failed(self, items: Sequence[Any], error: Exception) -> None:
        """Handle that none of the items was written; by default they are requests."""
        for request in items:
            request.answer.put(error)


class _CallWriter(Writer):
    """Calls functions within a commit."""

    def write(self, connection: sqlite3.Connection, items: Sequence[Request]) -> list[Any]:
        return [each.what(connection) for each in items]


_Batch = dict[Writer, list[Any]]
"""The items of one commit by their writer; writers in the order of their first items."""


class CommitQueue:
    """Commits items in the order in which they are queued; safe to use from any thread."""

    def __init__(self, file: SqliteFile) -> None:
        """Start the thread; `file` is the file that it writes."""
        self._file = file
        self._items: SimpleQueue[tuple[Writer, Any] | None] = SimpleQueue()
        self._calls = _CallWriter()
        self._lock = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, writer: Writer, item: Any) -> None:
        """Queue an item; its writer is told when it is durable, or that it failed."""
        with self._lock:
            if not self._is_closed:
                self._items.put((writer, item))
                return
        writer.failed([item], Unavailable("the outbox is closed"))

    def ask(self, writer: Writer, what: Any) -> Answer:
        """Queue a request; its result is set once it is durable."""
        answer = Answer()
        self.put(writer, Request(what, answer))
        return answer

    def call(self, work: Work) -> Answer:
        """Queue a function; its result is set once what it wrote is durable."""
        return self.ask(self._calls, work)

    def close(self) -> None:
        """Commit what is queued, and end the thread."""
        with self._lock:
            self._is_closed = True
            self._items.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (queued := self._items.get()) is not None:
            writer, item = queued
            self._commit({writer: [item]})

    def _add_queued(self, batch: _Batch) -> None:
        """Add all that is queued by now."""
        for _ in range(MAX_ITEMS):
            if self._items.empty():
                return
            queued = self._items.get()
            if queued is None:
                self._items.put(None)  # ends `_run` after this commit
                return
            writer, item = queued
            batch.setdefault(writer, []).append(item)

    def _commit(self, batch: _Batch, *, is_retry: bool = False) -> None:
        try:
            with self._file.transaction() as connection:
                if not is_retry:
                    self._add_queued(batch)  # late: other threads run during BEGIN, and queue more
                results = [writer.write(connection, items) for writer, items in batch.items()]
        except Exception as error:  # noqa: BLE001  # the writers handle it
            can_retry = isinstance(error, Unavailable) and not is_retry
            retried = {writer: items for writer, items in batch.items() if can_retry and writer.makes_room}
            for writer, items in batch.items():
                if writer not in retried:
                    _tell(writer.failed, items, error)
            if retried:
                self._checkpoint()
                self._commit(retried, is_retry=True)
            return
        for (writer, items), result in zip(batch.items(), results, strict=True):
            _tell(writer.committed, items, result)

    def _checkpoint(self) -> None:
        """Empty the write-ahead log. This makes room in it where the disk is full or a file may not grow."""
        try:
            self._file.connection().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            log.warning("the outbox's write-ahead log cannot be emptied: %s", error)


def _tell(handle: Callable[[list[Any], Any], None], items: list[Any], outcome: Any) -> None:
    """Call a writer's handler. An error in it must not end the thread: no POST would ever be answered again."""
    try:
        handle(items, outcome)
    except Exception:
        log.exception("handling a commit of the outbox failed")
