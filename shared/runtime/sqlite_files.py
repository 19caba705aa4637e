"""SQLite files: durable at commit, usable from any thread, with errors converted to ours."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.domain.errors import InvalidSettings, Unavailable
from shared.runtime.private_files import make_database_private, private_folder

_TEMPORARY = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
)
_INACCESSIBLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
"""At the first open, a wrong setting; later, a temporary error."""
RETRY_S = 0.01
_LOW_BYTE = 0xFF
"""The lowest byte of SQLite's extended result codes is the primary code."""


class SqliteFile:
    """One database file, usable from any thread; a commit survives a power failure."""

    def __init__(  # noqa: PLR0913  # the last three are optional
        self,
        path: Path,
        schema: str,
        version: int,
        *,
        upgrades: Mapping[int, str] | None = None,
        cache_kib: int = 8192,
        busy_s: float = 10,
    ) -> None:
        """Open the file, and create its tables if it is new, or migrate them if they are older.

        Args:
            path: the file. It and its folder are created if missing, with rights for their owner only.
            schema: the SQL that creates the tables.
            version: the version of the schema. A file with another version and no upgrade to this one is refused.
            upgrades: the SQL that migrates to the next version, by the version to migrate from.
            cache_kib: page cache of each connection.
            busy_s: how long to wait for another process's write lock.

        Raises:
            InvalidSettings: the file cannot be opened or written, or has another schema.
            Unavailable: another process is writing, or the disk is full.

        """
        self._path = path
        self._cache_kib = cache_kib
        self._busy_s = busy_s
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._idle: list[sqlite3.Connection] = []
        """The idle connections for `reading`; the last one was used most recently."""
        self._lock = threading.Lock()
        try:
            private_folder(path.parent)
            make_database_private(path)
            self._make(schema, version, upgrades or {})
            self._identity = _identity(path)
        except (OSError, sqlite3.Error) as error:
            self.close()
            kind = Unavailable if _code(error) in _TEMPORARY else InvalidSettings
            raise kind(f"cannot use {path}: {error}") from None

    def _make(self, schema: str, version: int, upgrades: Mapping[int, str]) -> None:
        connection = self.connection()
        if self._version() == version:  # checked without a lock: a reader must not wait for a writer
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
        """Switch to WAL mode, with retries: if two processes do so at once, SQLite fails one without waiting."""
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
        """Return this thread's connection."""
        if not hasattr(self._local, "connection"):
            self._local.connection = self._open()
        return self._local.connection  # type: ignore[no-any-return]  # threading.local has no types

    def is_in_place(self) -> bool:
        """Tell whether the path still names the open file; SQLite would go on writing to a deleted or moved one.

        Raises:
            OSError: nothing exists at the path, or it cannot be accessed.

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
        """Lend a connection for reading: the most recently used idle one, whose page cache is warm.

        With a connection per thread, most would have a cold cache, because a server spreads requests over its threads.
        A thread that writes reads over its own connection, and so sees its uncommitted changes.

        Raises:
            Unavailable: the file is locked or inaccessible.

        """
        with self.errors():
            own = getattr(self._local, "connection", None)
            if own is not None:
                yield own
                return
            idle = self._idle  # `close` replaces the list
            try:
                connection = idle.pop()
            except IndexError:
                connection = self._open()
            try:
                yield connection
            finally:
                idle.append(connection)

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection as `reading` does; all that is read over it within the block is of one moment."""
        with self.reading() as connection:
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")  # nothing was written

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit at the end of the block, or roll back after an error.

        Raises:
            Unavailable: the file is locked or inaccessible, or the disk is full.

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
        """Convert SQLite's temporary errors to `Unavailable`; others are bugs and are raised unchanged."""
        try:
            yield
        except sqlite3.Error as error:
            if _code(error) in (*_TEMPORARY, *_INACCESSIBLE):
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
    """Split a script into statements, because `executescript` would commit the current transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
