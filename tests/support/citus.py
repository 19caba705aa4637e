"""Citus: a PostgreSQL that coordinates two others, of a build that the environment names."""

import os
from pathlib import Path

import pytest
from psycopg.sql import SQL, Identifier

from tests.support.postgres import Postgres
from tests.support.servers import HOST

INITDB = "POWER_TEST_CITUS"
_SETTINGS = {
    "shared_preload_libraries": "citus",
    "citus.node_conninfo": "sslmode=disable",
    "max_connections": "200",
    "max_prepared_transactions": "200",
}


class CitusNode(Postgres):
    """One server; the others need no password for it."""

    def __init__(self, initdb: Path) -> None:
        """Prepare one."""
        super().__init__(initdb=initdb)
        self._settings = _SETTINGS

    def _make(self, initdb: Path) -> None:
        super()._make(initdb)
        (self._folder / "data" / "pg_hba.conf").write_text(f"host all all {HOST}/32 trust\n", "utf-8")


class Citus(CitusNode):
    """The coordinator, which starts its nodes."""

    def __init__(self) -> None:
        """Prepare one; without a build that has Citus, skip."""
        if INITDB not in os.environ:
            pytest.skip(f"{INITDB} does not name the initdb of a PostgreSQL with Citus")
        initdb = Path(os.environ[INITDB])
        super().__init__(initdb)
        self._nodes = [CitusNode(initdb) for _ in range(2)]

    def start(self) -> None:
        """Start all."""
        for each in self._nodes:
            each.start()
        super().start()

    def stop(self) -> None:
        """Stop all."""
        super().stop()
        for each in self._nodes:
            each.stop()

    def create(self) -> str:
        """Make an empty database on all nodes."""
        url = super().create()
        name = url.rsplit("/", 1)[1]
        for each in self._nodes:
            each.run(SQL("CREATE DATABASE {}").format(Identifier(name)))
        for server in (*self._nodes, self):
            server.run("CREATE EXTENSION citus", url=server.url(name))
        self.run("SELECT citus_set_coordinator_host(%s, %s)", (HOST, self.port), url=url)
        for each in self._nodes:
            self.run("SELECT citus_add_node(%s, %s)", (HOST, each.port), url=url)
        return url
