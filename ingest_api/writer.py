"""One thread that changes a SQLite file: what is asked for while it commits is committed together."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from shared.errors import Unavailable
from shared.sqlite_files import SqliteFile

log = logging.getLogger(__name__)

TOGETHER = 500

Work = Callable[[sqlite3.Connection], Any]
Then = Callable[[Any, Exception | None], None]


class Task:
    """Work to be done, and who waits for it: one, for whom a bare lock costs a third of what a `Future` does."""

    __slots__ = ("_done", "_error", "_result", "makes_room", "then", "work")

    def __init__(self, work: Work, then: Then | None, *, makes_room: bool) -> None:
        """Begin; the work is not done yet."""
        self.work, self.then, self.makes_room = work, then, makes_room
        self._result: Any = None
        self._error: Exception | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def result(self, timeout_s: float = -1) -> Any:
        """Wait, and give what the work gave.

        Raises:
            TimeoutError: it takes too long.
            Exception: the work's own.

        """
        if not self._done.acquire(timeout=timeout_s):
            raise TimeoutError
        self._done.release()
        if self._error is not None:
            raise self._error
        return self._result

    def finish(self, result: Any, error: Exception | None = None) -> None:
        """Tell whoever waits."""
        self._result, self._error = result, error
        self._done.release()
        if self.then is not None:
            try:
                self.then(result, error)
            except Exception:  # without this thread nobody would ever be answered again
                log.exception("what follows a change of the outbox has failed")


class Writer:
    """Commits in the order of asking; safe to use from any thread."""

    def __init__(
        self,
        file: SqliteFile,
        each_time: Callable[[sqlite3.Connection, int], object],
        committed: Callable[[Sequence[Any]], object] = lambda _: None,
    ) -> None:
        """Begin.

        Args:
            file: what is changed.
            each_time: done in every transaction, after the work, and told how much that was.
            committed: told the results of every transaction, before those who wait for them.

        """
        self.commits = 0
        """How many transactions there were."""
        self._file = file
        self._each_time = each_time
        self._committed = committed
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def do(self, work: Work, then: Then | None = None, *, makes_room: bool = False) -> Task:
        """Have something done; the task tells its result once that is durable, or `Unavailable`.

        Args:
            work: what is to be done.
            then: told the same, by the thread that writes.
            makes_room: it makes room in the file, and is tried again by itself where there is none for all that came
                with it.

        """
        task = Task(work, then, makes_room=makes_room)
        with self._lock:
            if not self._closed:
                self._tasks.put(task)
                return task
        task.finish(None, Unavailable("the outbox is closed"))
        return task

    def close(self) -> None:
        """Finish what was asked for."""
        with self._lock:
            self._closed = True
            self._tasks.put(None)
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            together: list[Task] = []
            while not together or (len(together) < TOGETHER and not self._tasks.empty()):
                task = self._tasks.get()
                if task is None:  # after it nothing comes
                    is_open = False
                    break
                together.append(task)
            if together:
                self._commit(together)

    def _commit(self, together: list[Task]) -> None:
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

    def _try(self, together: list[Task]) -> None:
        with self._file.transaction() as connection:
            results = [each.work(connection) for each in together]
            self._each_time(connection, len(together))
        self.commits += 1
        self._committed(results)
        for each, result in zip(together, results, strict=True):
            each.finish(result)

    def _checkpoint(self) -> None:
        """Empty the write-ahead log: where a disk is full, or a file may not grow, this alone makes room in it."""
        try:
            self._file.connection().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            log.warning("the outbox's log cannot be emptied: %s", error)


def _fail(tasks: list[Task], error: Exception) -> None:
    for each in tasks:
        each.finish(None, error)
