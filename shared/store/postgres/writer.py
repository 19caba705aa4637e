"""The one connection that writes, and transactions on it that are fenced by the epoch of a partition."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg

from shared.domain.errors import Refused, Unavailable
from shared.store.postgres.server import Server

Statement = tuple[str, Sequence[Any]]
"""SQL and its parameters."""

_TAKE = """
INSERT INTO fences AS f (partition, epoch, owner, taken_at) VALUES (%s, 1, %s, now())
ON CONFLICT (partition) DO UPDATE SET epoch = f.epoch + 1, owner = EXCLUDED.owner, taken_at = EXCLUDED.taken_at
RETURNING epoch
"""
# A write, not a look: it waits for whoever is about to commit under an older epoch. And with a synchronous standby a
# transaction that stores nothing else waits for the standby, which then has all that was committed before, too.
_FENCE = "UPDATE fences SET transactions = transactions + 1 WHERE partition = %s AND epoch = %s"


class Writer:
    """Writes to a server over one connection, which is opened at its first use, and anew after an error."""

    def __init__(self, server: Server) -> None:
        """Keep the server; nothing is opened."""
        self._server = server
        self._connection: psycopg.Connection[Any] | None = None
        self.warnings: list[str] = []
        """What the server has warned of; who reads it clears it."""

    def close(self) -> None:
        """Close the connection, if there is one; the next use opens another."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def connect(self) -> "psycopg.Connection[Any]":
        """Return the connection.

        Raises:
            InvalidSettings: see `Server.connect`.
            Unavailable: the server does not answer.

        """
        if self._connection is None:
            self._connection = self._server.connect()
            self._connection.add_notice_handler(self._noticed)
        return self._connection

    def _noticed(self, said: psycopg.errors.Diagnostic) -> None:
        if said.severity_nonlocalized == "WARNING":
            self.warnings.append(said.message_primary or "")

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert errors to ours. The connection is closed after all of them but a row that is refused."""
        try:
            with self._server.errors():
                yield
        except Refused:
            raise
        except BaseException:
            self.close()
            raise

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows, in the transaction under way or in one of its own."""
        with self.errors():
            return self.connect().execute(query, parameters, binary=True).fetchall()

    def pinned(self, name: str, value: str) -> str:
        """See `ReadingStore`."""
        self.rows("INSERT INTO pinned VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING name", (name, value))
        return str(self.rows("SELECT value FROM pinned WHERE name = %s", (name,))[0][0])

    def take(self, partition: int) -> int:
        """Become the owner of a partition; return the epoch that fences its transactions from now on."""
        owner = f"{socket.gethostname()} {os.getpid()}"
        return int(self.rows(_TAKE, (partition, owner))[0][0])


class Transaction:
    """A transaction of one partition: nothing is sent before `run` or `commit`.

    It is one pipeline, which ends after the commit: psycopg ends a pipeline with a message after which PostgreSQL no
    longer counts how long the transaction stands still.
    """

    def __init__(self, writer: Writer, partition: int, epoch: int) -> None:
        """Keep what fences it."""
        self._writer, self._partition, self._epoch = writer, partition, epoch
        self._connection: psycopg.Connection[Any] | None = None
        """None before it has begun."""
        self._pipeline = ExitStack()

    @property
    def has_begun(self) -> bool:
        """Whether anything was sent."""
        return self._connection is not None

    def run(self, statements: Sequence[Statement]) -> "list[psycopg.Cursor[Any]]":
        """Run statements, in one round trip; the first call begins the transaction.

        Raises:
            Refused: the database rejects a row.
            Unavailable: another worker owns the partition, or the server does not answer.

        """
        with self._writer.errors():
            opening: list[Statement] = []
            if self._connection is None:
                self._connection = self._writer.connect()
                self._synced = self._pipeline.enter_context(self._connection.pipeline())
                opening = [("BEGIN", ()), (_FENCE, (self._partition, self._epoch))]
            ran = [self._connection.execute(*each, binary=True) for each in [*opening, *statements]]
            self._synced.sync()
            if opening and ran[1].rowcount != 1:
                raise Unavailable(f"partition {self._partition} has another owner")
        return ran[len(opening) :]

    def commit(self) -> None:
        """Make all of it durable.

        Raises:
            Unavailable: as `run`; or it is not known whether it is durable.

        """
        if self._connection is None:
            self.run(())
        assert self._connection is not None  # noqa: S101  # `run` has begun
        with self._writer.errors():
            warnings = self._writer.warnings
            warnings.clear()
            self._connection.execute("COMMIT", prepare=False)
            self._pipeline.close()
            if warnings:  # such as: the wait for the synchronous standby was cancelled
                raise Unavailable(f"a commit may not be durable: {warnings[0]}")

    def roll_back(self) -> None:
        """Undo it; where the connection is gone, the server does."""
        with suppress(Unavailable), self._writer.errors():
            self._pipeline.close()
            if self._connection is not None and not self._connection.closed:
                self._connection.execute("ROLLBACK", prepare=False)
