"""Connections for reading, shared by threads: the most recently used idle one is lent first."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg

from shared.domain.errors import Unavailable
from shared.store.postgres.server import Server

Rows = list[tuple[Any, ...]]


class Connections:
    """As many connections as threads read at the same time."""

    def __init__(self, server: Server) -> None:
        """Keep the server; nothing is opened."""
        self._server = server
        self._lock = threading.Lock()
        self._idle: list[psycopg.Connection[Any]] = []
        self._is_closed = False

    def close(self) -> None:
        """Close the idle ones; lent ones are closed when they come back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for each in idle:
            each.close()

    def check(self) -> None:
        """Open one if none is idle.

        Raises:
            InvalidSettings: see `Server.connect`.
            Unavailable: the server does not answer.

        """
        connection = self._idle_one()
        self._give_back(connection or self._server.connect())

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> Rows:
        """Run a query and return its rows.

        An idle connection may be gone, such as after a restart of the server: then a new one is tried.

        Raises:
            Unavailable: the server does not answer.

        """
        while (idle := self._idle_one()) is not None:
            with suppress(_Gone):
                return self._rows(idle, query, parameters)
        try:
            return self._rows(self._server.connect(), query, parameters)
        except _Gone as gone:
            raise Unavailable(str(gone)) from gone

    def _rows(self, connection: "psycopg.Connection[Any]", query: str, parameters: Sequence[Any]) -> Rows:
        try:
            with self._server.errors():
                rows = connection.execute(query, parameters, binary=True).fetchall()
        except Unavailable as error:
            if not connection.closed:
                connection.close()
                raise
            raise _Gone(str(error)) from error
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return rows

    def _idle_one(self) -> "psycopg.Connection[Any] | None":
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: "psycopg.Connection[Any]") -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()


class _Gone(Exception):  # it never leaves this module
    """The connection has ended."""
