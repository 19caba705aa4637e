"""One thread that changes a SQLite file: what is asked for while it commits is committed together."""

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from shared.domain.errors import Unavailable
from shared.runtime.sqlite_files import SqliteFile

log = logging.getLogger(__name__)

TOGETHER = 500

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[sqlite3.Connection], Any]
Then = Callable[[Any, Exception | None], None]


class Answer:
    """What one thread waits for: a bare lock costs a third of what a `Future` does."""

    __slots__ = ("_error", "_given", "_result")

    def __init__(self) -> None:
        """Begin; it is not given yet."""
        self._result: Any = None
        self._error: Exception | None = None
        self._given = threading.Lock()
        self._given.acquire()

    def result(self, timeout_s: float = -1) -> Any:
        """Wait for it.

        Raises:
            TimeoutError: it takes too long.
            Exception: the error that was given.

        """
        if not self._given.acquire(timeout=timeout_s):
            raise TimeoutError
        self._given.release()
        if self._error is not None:
            raise self._error
        return self._result

    def give(self, result: Any, error: Exception | None = None) -> None:
        """Tell whoever waits."""
        self._result, self._error = result, error
        self._given.release()


class Task(NamedTuple):
    """Work to be done, and who is told of it; `makes_room` as with `Together`."""

    work: Work
    then: Then
    makes_room: bool = False

    def finish(self, result: Any, error: Exception | None = None) -> None:
        """Tell of it."""
        try:
            self.then(result, error)
        except Exception:  # without this thread nobody would ever be answered again
            log.exception("what follows a change of the outbox has failed")


class Writer:
    """Commits in the order of asking; safe to use from any thread."""

    def __init__(self, file: SqliteFile) -> None:
        """Begin; `file` is what is changed."""
        self.commits = 0
        """How many transactions there were."""
        self._file = file
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def do(self, work: Work) -> Answer:
        """Have something done; its result is given once that is durable, or `Unavailable`."""
        answer = Answer()
        self.put(Task(work, answer.give))
        return answer

    def put(self, task: Task) -> None:
        """Have a task done, and whoever it names told once that is durable, or of `Unavailable`."""
        with self._lock:
            if not self._closed:
                self._tasks.put(task)
                return
        task.finish(None, Unavailable("the outbox is closed"))

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
        self.commits += 1
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


class Together(Generic[T, R]):
    """Things that are written with one task: all that come until its turn."""

    def __init__(
        self,
        writer: Writer,
        work: Callable[[sqlite3.Connection, Sequence[T]], R],
        then: Callable[[Sequence[T], R | None, Exception | None], None],
        *,
        makes_room: bool = False,
    ) -> None:
        """Begin.

        Args:
            writer: who does it.
            work: writes some.
            then: told, by the thread that writes, what that gave, once it is durable, or else why it is not.
            makes_room: it makes room in the file, and is tried again by itself where there is none for all that came
                with it.

        """
        self._writer, self._work, self._then, self._makes_room = writer, work, then, makes_room
        self._lock = threading.Lock()
        self._things: list[T] = []

    def add(self, thing: T) -> None:
        """Have one written, with those that wait already, or as the first."""
        with self._lock:
            self._things.append(thing)
            if len(self._things) > 1:
                return
            things = self._things

        def work(connection: sqlite3.Connection) -> R:
            self._close(things)
            return self._work(connection, things)

        def then(result: R | None, error: Exception | None) -> None:
            self._close(things)
            self._then(things, result, error)

        self._writer.put(Task(work, then, self._makes_room))

    def _close(self, things: list[T]) -> None:
        """Have what comes from now on written with another task."""
        with self._lock:
            if self._things is things:
                self._things = []
