"""One thread that changes a SQLite file: what is asked for while it commits is committed together."""

import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from shared.errors import Unavailable
from shared.sqlite_files import SqliteFile

log = logging.getLogger(__name__)

TOGETHER = 500

Work = Callable[[sqlite3.Connection], Any]


@dataclass(frozen=True, slots=True)
class _Task:
    """Work to be done, and who waits for it."""

    work: Work
    makes_room: bool
    future: Future[Any] = field(default_factory=Future)


class Writer:
    """Commits in the order of asking; safe to use from any thread."""

    def __init__(self, file: SqliteFile, each_time: Callable[[sqlite3.Connection, int], object]) -> None:
        """Begin; `each_time` is done in every transaction, after the work, and told how much that was."""
        self.commits = 0
        """How many transactions there were."""
        self._file = file
        self._each_time = each_time
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def do(self, work: Work, *, makes_room: bool = False) -> Future[Any]:
        """Have something done; the future tells its result once that is durable, or `Unavailable`.

        Work that makes room in the file is tried again by itself where there is none for all that came with it.
        """
        task = _Task(work, makes_room)
        with self._lock:
            if self._closed:
                task.future.set_exception(Unavailable("the outbox is closed"))
            else:
                self._tasks.put(task)
        return task.future

    def close(self) -> None:
        """Finish what was asked for."""
        with self._lock:
            self._closed = True
            self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            together: list[_Task] = []
            while not together or (len(together) < TOGETHER and not self._tasks.empty()):
                task = self._tasks.get()
                if task is None:  # after it nothing comes
                    is_open = False
                    break
                together.append(task)
            if together:
                self._commit(together)

    def _commit(self, together: list[_Task]) -> None:
        try:
            self._try(together)
        except Unavailable as error:
            _fail([each for each in together if not each.makes_room], error)
            self._checkpoint()
            if again := [each for each in together if each.makes_room]:
                try:
                    self._try(again)
                except Exception as another:  # noqa: BLE001  # whoever waits is told
                    _fail(again, another)
        except Exception as error:  # noqa: BLE001  # the same
            _fail(together, error)

    def _try(self, together: list[_Task]) -> None:
        with self._file.transaction() as connection:
            results = [each.work(connection) for each in together]
            self._each_time(connection, len(together))
        self.commits += 1
        for each, result in zip(together, results, strict=True):
            each.future.set_result(result)

    def _checkpoint(self) -> None:
        """Empty the write-ahead log: where a disk is full, or a file may not grow, this alone makes room in it."""
        try:
            self._file.connection().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            log.warning("the outbox's log cannot be emptied: %s", error)


def _fail(tasks: list[_Task], error: Exception) -> None:
    for each in tasks:
        each.future.set_exception(error)
