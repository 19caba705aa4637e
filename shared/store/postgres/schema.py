"""The tables' version: they are made, and brought forward, by whoever may write; a lock keeps it to one at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psycopg import Connection

from shared.domain.errors import InvalidSettings, Unavailable

VERSION = 4
_MAKE, _FROM_1, _FROM_2, _FROM_3 = (
    Path(__file__).with_name(f"{name}.sql").read_text("utf-8") for name in ("schema", "from_1", "from_2", "from_3")
)
UPGRADES: Mapping[int, str] = {1: _FROM_1, 2: _FROM_2, 3: _FROM_3}
"""The SQL that brings tables forward to the next version, by the version that they have."""
# Not `to_regclass`: it may not see yet what another process has made while this one waited for the lock.
_IS_THERE = """
SELECT tablename FROM pg_tables WHERE tablename = 'power_schema' AND schemaname = ANY(current_schemas(false))
"""
_LOCK = 0x706F776572  # "power"
_HAS_CITUS = "SELECT 1 FROM pg_extension WHERE extname = 'citus'"
_NOT_DISTRIBUTED = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
    AND oid NOT IN (SELECT logicalrelid FROM pg_dist_partition)
"""
_ON_EVERY_NODE = ("power_schema", "pinned", "ships")


def check(connection: Connection[Any], where: str) -> None:
    """Check that the tables are there and have the version of this program.

    Raises:
        InvalidSettings: they are newer.
        Unavailable: they are missing or older; a worker makes them so.

    """
    found = _version(connection)
    if found > VERSION:
        raise _newer(found, where)
    if found < VERSION:
        raise Unavailable(f"{where} has {'older' if found else 'no'} tables yet; the worker makes them at its start")


def bring_forward(connection: Connection[Any], where: str) -> None:
    """Make the tables, or bring them forward from an older version.

    Raises:
        InvalidSettings: they are newer than this program.

    """
    if _version(connection) == VERSION:  # the common case needs no lock
        return
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0", prepare=False)
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found = _version(connection)
        if found > VERSION:
            raise _newer(found, where)
        if found == 0:
            connection.execute(_MAKE, prepare=False)
            connection.execute("CREATE TABLE power_schema (version integer NOT NULL)")
            connection.execute("INSERT INTO power_schema VALUES (%s)", (VERSION,))
        else:
            for version in range(found, VERSION):
                connection.execute(UPGRADES[version], prepare=False)
            connection.execute("UPDATE power_schema SET version = %s", (VERSION,))
        if connection.execute(_HAS_CITUS).fetchall():
            _distribute(connection)


def _distribute(connection: Connection[Any]) -> None:
    """Distribute the tables that are new over Citus' nodes: a partition's rows of all tables are on one node."""
    found = {name for (name,) in connection.execute(_NOT_DISTRIBUTED).fetchall()}
    for name in sorted(found.intersection(_ON_EVERY_NODE)):
        connection.execute("SELECT create_reference_table(%s)", (name,))
    for name in sorted(found.difference(_ON_EVERY_NODE), key=lambda each: each != "fences"):  # the others are beside it
        beside = "default" if name == "fences" else "fences"
        connection.execute("SELECT create_distributed_table(%s, 'partition', colocate_with := %s)", (name, beside))


def _version(connection: Connection[Any]) -> int:
    """Return the version of the tables; 0 if there are none."""
    if not connection.execute(_IS_THERE).fetchall():
        return 0
    row = connection.execute("SELECT version FROM power_schema").fetchone()
    return int(row[0]) if row else 0


def _newer(found: int, where: str) -> InvalidSettings:
    return InvalidSettings(f"{where} has tables of version {found}; this program knows {VERSION}")
