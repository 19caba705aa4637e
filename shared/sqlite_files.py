"""SQLite files as this project uses them: durable at commit, one connection a thread, errors turned into ours."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import InvalidSettings, Unavailable

_PASSING = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM,
)
_LOW_BYTE = 0xFF
"""SQLite's extended result codes keep the primary one in their lowest byte."""


class SqliteFile:
    """One database file, usable from any thread; what is committed survives the loss of power."""

    def __init__(self, path: Path, schema: str, version: int, *, cache_kib: int = 8192, busy_s: float = 10) -> None:
        """Open the file, and make its tables where it is new.

        Args:
            path: the file; its folder is made where it is missing.
            schema: the SQL that makes the tables.
            version: the schema's number; a file with another one is refused.
            cache_kib: how much of the file each connection may keep in memory.
            busy_s: how long to wait for another process that is writing.

        Raises:
            InvalidSettings: the file cannot be opened or written, or is not one of ours.

        """
        self._path = path
        self._cache_kib = cache_kib
        self._busy_s = busy_s
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._make(schema, version)
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise InvalidSettings(f"cannot use {path}: {error}") from None

    def _make(self, schema: str, version: int) -> None:
        connection = self.connection()
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        (found,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:
            for statement in _statements(schema):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={version}")
        connection.execute("COMMIT")
        if tables and found != version:
            message = f"its tables have version {found}, this program needs {version}"
            raise sqlite3.DatabaseError(message)

    def connection(self) -> sqlite3.Connection:
        """Give this thread's connection."""
        try:
            return self._local.connection  # type: ignore[no-any-return]  # threading.local has no types
        except AttributeError:
            connection = sqlite3.connect(
                self._path, timeout=self._busy_s, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA cache_size=-{self._cache_kib}")
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            with self._lock:
                self._all.append(connection)
            self._local.connection = connection
            return connection

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
            if getattr(error, "sqlite_errorcode", 0) & _LOW_BYTE in _PASSING:
                raise Unavailable(f"{self._path.name}: {error}") from error
            raise

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._all:
                connection.close()
            self._all.clear()
        self._local = threading.local()


def _statements(script: str) -> Iterator[str]:
    """Split a script, because `executescript` would commit the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
