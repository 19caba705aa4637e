"""SQLite files as this project uses them: durable at commit, usable from any thread, errors turned into ours."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.domain.errors import InvalidSettings, Unavailable
from shared.runtime.private_files import make_database_private, private_folder

_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
)
_OUT_OF_REACH = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""A wrong setting when the file is opened; later on, something that may come back."""
RETRY_S = 0.01
_LOW_BYTE = 0xFF
"""SQLite's extended result codes keep the primary one in their lowest byte."""


class SqliteFile:
    """One database file, usable from any thread; what is committed survives the loss of power."""

    def __init__(  # noqa: PLR0913  # the last ones may be left out
        self,
        path: Path,
        schema: str,
        version: int,
        *,
        upgrades: Mapping[int, str] | None = None,
        cache_kib: int = 8192,
        busy_s: float = 10,
    ) -> None:
        """Open the file, and make its tables where it is new, or bring them up to date where they are older.

        Args:
            path: the file; its folder is made where it is missing. Both are for their owner alone.
            schema: the SQL that makes the tables.
            version: the schema's number; a file with another one, from which no upgrade leads to it, is refused.
            upgrades: by the version that a file has, the SQL that makes it one of the next version.
            cache_kib: how much of the file each connection may keep in memory.
            busy_s: how long to wait for another process that is writing.

        Raises:
            InvalidSettings: the file cannot be opened or written, or is not one of ours.
            Unavailable: another process writes just now, or the disk is full.

        """
        self._path = path
        self._cache_kib = cache_kib
        self._busy_s = busy_s
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._idle: list[sqlite3.Connection] = []
        """Those that are lent, while nobody has them; the one used last is the last."""
        self._lock = threading.Lock()
        try:
            private_folder(path.parent)
            make_database_private(path)
            self._make(schema, version, upgrades or {})
            self._identity = _identity(path)
        except (OSError, sqlite3.Error) as error:
            self.close()
            kind = Unavailable if _code(error) in _PASSING else InvalidSettings
            raise kind(f"cannot use {path}: {error}") from None

    def _make(self, schema: str, version: int, upgrades: Mapping[int, str]) -> None:
        connection = self.connection()
        if self._version() == version:  # without a lock: whoever only reads must not wait for whoever writes
            return
        self._use_write_ahead_log(connection)
        connection.execute("BEGIN IMMEDIATE")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:
            self._run(schema, version)
        while self._version() != version and self._version() in upgrades:
            self._run(upgrades[self._version()], self._version() + 1)
        connection.execute("COMMIT")
        found = self._version()
        if found != version:
            message = f"its tables have version {found}, this program needs {version}"
            raise sqlite3.DatabaseError(message)

    def _run(self, script: str, version: int) -> None:
        for statement in _statements(script):
            self.connection().execute(statement)
        self.connection().execute(f"PRAGMA user_version={version}")

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        """Switch the file over; of two processes that do so at once, SQLite lets one fail without waiting."""
        deadline = time.monotonic() + self._busy_s
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_S)
            else:
                return

    def _version(self) -> int:
        return int(self.connection().execute("PRAGMA user_version").fetchone()[0])

    def connection(self) -> sqlite3.Connection:
        """Give this thread's connection."""
        try:
            return self._local.connection  # type: ignore[no-any-return]  # threading.local has no types
        except AttributeError:
            self._local.connection = self._open()
            return self._local.connection  # type: ignore[no-any-return]  # the same

    def is_in_place(self) -> bool:
        """Tell whether its path still leads to it; SQLite would go on writing to what nobody finds any more.

        Raises:
            OSError: the path leads nowhere, or cannot be followed.

        """
        return _identity(self._path) == self._identity

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA cache_size=-{self._cache_kib}")
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        with self._lock:
            self._all.append(connection)
        return connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for a question: of those that are idle the one used last, which remembers most of the file.

        A server hands its requests to its threads in turn: with a connection for each, nearly all were cold. A thread
        that has its own, because it writes, reads over that, and so what it has not committed yet.
        """
        own = getattr(self._local, "connection", None)
        if own is not None:
            yield own
            return
        idle = self._idle  # `close` puts another list in its place
        try:
            connection = idle.pop()
        except IndexError:
            connection = self._open()
        try:
            yield connection
        finally:
            idle.append(connection)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit at the end what was done inside, or, after an error, none of it.

        Raises:
            Unavailable: the file is busy, full or out of reach.

        """
        with self.errors():
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's passing errors into `Unavailable`; the others are bugs, and crash."""
        try:
            yield
        except sqlite3.Error as error:
            if _code(error) in (*_PASSING, *_OUT_OF_REACH):
                raise Unavailable(f"{self._path.name}: {error}") from error
            raise

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._local, self._idle = threading.local(), []


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & _LOW_BYTE


def _statements(script: str) -> Iterator[str]:
    """Split a script, because `executescript` would commit the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
