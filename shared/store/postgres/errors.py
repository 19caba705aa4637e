"""What PostgreSQL's errors mean here."""

import psycopg

from shared.domain.errors import InvalidSettings, PowerError, Refused, Unavailable

_REFUSED = ("22", "23", "54")
"""Classes of SQLSTATE: data exception, integrity constraint, a limit of the program."""
_TEMPORARY = ("08", "40", "53", "57", "58")
"""Connection, rolled back (deadlock), no resources (disk full), operator (shutdown, cancelled), system."""
_TEMPORARY_STATES = ("25006", "25P03", "25P04", "55P03")
"""A server that is read-only (a standby), a transaction that stood still, another that took too long, a lock."""
_SETTINGS = ("28", "3D", "42501")
"""Who may log in, no such database, rights."""
_SETTINGS_SAID = ("authentication failed", "does not exist", "no password supplied", "no pg_hba.conf entry")
"""What a refused login says: libpq does not tell its SQLSTATE."""


def line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return " ".join((primary or str(error)).split())


def ours(error: psycopg.Error, where: str) -> PowerError | None:
    """Return the error of ours that one of PostgreSQL's stands for; None if it is a bug."""
    state, said = error.sqlstate or "", f"{where}: {line(error)}"
    if state.startswith(_REFUSED) or (not state and isinstance(error, psycopg.DataError)):
        return Refused(f"PostgreSQL refuses it: {line(error)}")  # a ship is told it
    if state.startswith(_SETTINGS):
        return InvalidSettings(said)
    if state.startswith(_TEMPORARY) or state in _TEMPORARY_STATES:
        return Unavailable(said)
    if not state and isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Unavailable(said)
    return None


def of_login(error: psycopg.Error, where: str) -> PowerError:
    """Return the error of ours for a connection that could not be made."""
    said = line(error).removeprefix("connection failed: ")
    is_wrong = isinstance(error, psycopg.ProgrammingError) or any(each in said for each in _SETTINGS_SAID)
    return (InvalidSettings if is_wrong else Unavailable)(f"{where}: {said}")
