"""A real PostgreSQL 15 or later, started for the tests from Debian's package."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from power_cli import postgresql
from tests.support.programs import need
from tests.support.servers import HOST, free_port
from tests.support.waiting import until

PASSWORD = "a-password-for-tests"  # noqa: S105  # it guards nothing
_databases = count()


def initdb_program() -> str:
    """Give the path of PostgreSQL's `initdb`; without it, skip on a laptop and fail in CI."""
    return need("postgresql")


class Postgres:
    """A real PostgreSQL, with its defaults where they matter: what is committed is on disk."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        standby_of: "Postgres | None" = None,
        initdb: Path | None = None,
        **settings: str,
    ) -> None:
        """Prepare one with settings of its own, in a folder that its owner can reach; else in a temporary one."""
        self._initdb = initdb
        self._primary = standby_of
        self.port = free_port()
        self._settings = settings
        self._folder = folder or Path(tempfile.mkdtemp(prefix="power-postgres-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._shared = ""

    @property
    def log(self) -> Path:
        """What the server says."""
        return self._folder / "log"

    def url(
        self, database: str = "postgres", *, user: str = postgresql.USER, password: str = PASSWORD, more: str = ""
    ) -> str:
        """Return the address of a database."""
        return f"postgresql://{user}:{password}@{HOST}:{self.port}/{database}{more}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.spawn()
        until(self.answers, f"PostgreSQL answers; see {self.log}")

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it, and do not wait; give its first process."""
        initdb = self._initdb or Path(initdb_program()).resolve()  # its fellows are beside it
        if not (self._folder / "data").exists():
            self._make(initdb)
        settings = {"listen_addresses": HOST, "port": str(self.port), **self._settings}
        self._process = postgresql.started(initdb, self._folder, settings)
        return self._process

    def _make(self, initdb: Path) -> None:
        if self._primary is None:
            postgresql.initialise(initdb, self._folder, PASSWORD)
            return
        postgresql.hand_over(self._folder)
        options = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync", f"--dbname={self._primary.url()}"]
        postgresql.ran([str(initdb.with_name("pg_basebackup")), "-D", str(self._folder / "data"), *options])

    def answers(self) -> bool:
        """Tell whether it answers now."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text("utf-8")
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def revived(self) -> bool:
        """Start it again if it has ended by itself; return whether it answers."""
        assert self._process is not None
        if self._process.poll() is not None:
            self.start()
        return self.answers()

    @property
    def pid(self) -> int:
        """The process that has started all others of the server."""
        assert self._process is not None
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP and SIGCONT, to all processes of the server."""
        for pid in [self.pid, *children_of(self.pid)]:
            os.kill(pid, number)

    def stop(self) -> None:
        """End it, if it runs, and remove its folder."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def restart(self) -> None:
        """Stop it at once, in order, and start it again."""
        self._end(signal.SIGINT)
        self.start()

    def kill(self) -> None:
        """End all its processes at once, with no chance to write anything down."""
        children = children_of(self.pid)
        self._end(signal.SIGKILL)
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)  # a halted process ends only when it goes on
            self._process.wait(30)
            self._process = None

    def create(self) -> str:
        """Make an empty database and return its address."""
        name = f"test{next(_databases)}"
        self.run(SQL("CREATE DATABASE {}").format(Identifier(name)))
        return self.url(name)

    def emptied(self) -> str:
        """Return the address of a database for stores, emptied: the same each time, which is quicker than a new one."""
        self._shared = self._shared or self.create()
        tables = self.run(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
            url=self._shared,
        )
        emptied = SQL(";").join(
            SQL("DELETE FROM {}").format(Identifier(name)) for (name,) in tables if name != "power_schema"
        )
        self.run(emptied, url=self._shared)
        return self._shared

    def run(self, statement: Any, parameters: Sequence[Any] = (), *, url: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser and return its rows."""
        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []


def children_of(pid: int) -> list[int]:
    """Give the processes that a process has started and that still run."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], check=False, capture_output=True, text=True)
    return [int(each) for each in found.stdout.split()]
