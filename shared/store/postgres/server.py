"""Connections to PostgreSQL: how they are opened and checked, and what the server's settings promise."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from shared.domain.errors import InvalidSettings
from shared.store.postgres import schema
from shared.store.postgres.arrays import register
from shared.store.postgres.errors import of_login, ours

log = logging.getLogger(__name__)

OLDEST_VERSION = 15
CONNECT_TIMEOUT_S = 5
IDLE_TRANSACTION_S = 10
"""After so long the server ends a transaction of a worker that stands still: the next owner waits for its lock."""
_DEFAULTS: dict[str, str | int] = {
    "application_name": "power",
    "client_encoding": "UTF8",
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# The worker finds all rows by their keys. Of a table that is small as yet, the planner would prefer to read all, and
# keep that plan while the table grows. The keepalives are for a worker whose machine is gone.
_WRITING = f"""
SET jit = off;
SET enable_seqscan = off;
SET statement_timeout = '120s';
SET lock_timeout = '10s';
SET idle_in_transaction_session_timeout = '{IDLE_TRANSACTION_S}s';
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
"""
_READING = """
SET jit = off;
SET statement_timeout = '60s';
SET default_transaction_read_only = on;
"""
_SETTINGS = """
SELECT current_setting('fsync'), current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
    pg_is_in_recovery()
"""


class Server:
    """A PostgreSQL server, or several of which one is the primary."""

    def __init__(self, variable: str, url: str, *, writes: bool) -> None:
        """Keep the address; nothing is opened.

        Args:
            variable: the setting that has the address, for messages.
            url: `postgresql://…`, with any of libpq's parameters.
            writes: whether connections are for the worker, on the primary only.

        Raises:
            InvalidSettings: the address cannot be read.

        """
        try:
            given = conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise InvalidSettings(f"{variable} is not a PostgreSQL address: {' '.join(str(error).split())}") from None
        defaults = {**_DEFAULTS, "target_session_attrs": "read-write" if writes else "any"}
        self._conninfo = make_conninfo("", **{**defaults, **given})
        self._writes = writes
        self.name = f"PostgreSQL at {given.get('host', 'localhost')}"
        self.promise = ""
        """What the server's settings promise for what is committed, in words; empty before the first connection."""

    def connect(self) -> "psycopg.Connection[Any]":
        """Open a connection in autocommit mode; a writing one makes the tables or brings them forward.

        Raises:
            InvalidSettings: the server refuses us, or is too old, or has tables that this program does not know.
            Unavailable: it does not answer, is only a standby, or has no tables yet.

        """
        try:
            connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=0)
        except psycopg.Error as error:
            raise of_login(error, self.name) from None
        try:
            with self.errors():
                self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: "psycopg.Connection[Any]") -> None:
        version = connection.info.server_version
        if version < OLDEST_VERSION * 10_000:
            raise InvalidSettings(
                f"{self.name} has version {version // 10_000}; this service needs {OLDEST_VERSION} or newer"
            )
        register(connection)
        connection.execute(_WRITING if self._writes else _READING, prepare=False)  # several statements
        if self._writes:
            schema.bring_forward(connection, self.name)
        else:
            schema.check(connection, self.name)
        row = connection.execute(_SETTINGS).fetchone()
        assert row is not None  # noqa: S101  # a SELECT without FROM has one row
        self._tell(_promise(*row))

    def _tell(self, promise: str) -> None:
        if promise != self.promise:
            log.log(logging.WARNING if "may not survive" in promise else logging.INFO, "%s: %s", self.name, promise)
        self.promise = promise

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Convert PostgreSQL's errors to ours; what is a bug is raised unchanged."""
        try:
            yield
        except psycopg.Error as error:
            found = ours(error, self.name)
            if found is None:
                raise
            raise found from error


def _promise(fsync: str, commit: str, standbys: str, is_standby: bool) -> str:  # noqa: FBT001  # a row
    """Say what a commit means with the server's settings."""
    if is_standby:
        return "it is a standby, which may be some moments behind"
    if fsync == "off":
        return "fsync is off: what is committed may not survive a crash of the server"
    if commit == "off":
        return "synchronous_commit is off: the last moments before a crash of the server may not survive it"
    if commit == "local" or not standbys.strip():
        return "what is committed is on the server's disk, and on no standby's: it survives a crash, not a lost disk"
    if commit == "remote_write":
        return "what is committed is on the server's disk, and a standby has received it"
    return "what is committed is on the disks of the server and of a standby"
