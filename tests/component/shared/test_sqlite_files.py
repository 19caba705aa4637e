"""What every SQLite file of the project promises, whatever is in it."""

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.domain.errors import InvalidSettings, Unavailable
from shared.runtime.sqlite_files import SqliteFile

SCHEMA = "CREATE TABLE notes (text TEXT);\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "folder" / "notes.sqlite"


@pytest.fixture
def file(path: Path) -> Iterator[SqliteFile]:
    file = SqliteFile(path, SCHEMA, 3)
    yield file
    file.close()


def write(file: SqliteFile, text: str = "x") -> None:
    with file.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES (?)", (text,))


def notes(file: SqliteFile) -> list[str]:
    return [text for (text,) in file.connection().execute("SELECT text FROM notes")]


def test_what_is_committed_survives_the_loss_of_power(file: SqliteFile) -> None:
    """As far as a test without a plug to pull can see: SQLite is told to wait for the disk with every commit."""
    assert file.connection().execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert file.connection().execute("PRAGMA synchronous").fetchone() == (2,), "FULL"


def test_a_transaction_is_alone_from_its_start(file: SqliteFile, path: Path) -> None:
    """What it has read is still true when it writes."""
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    with file.transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.close()


def test_another_writer_is_waited_for(file: SqliteFile, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    done.start()
    write(file)
    done.join()
    other.close()
    assert notes(file) == ["x"]


def test_readers_do_not_wait_for_a_writer(file: SqliteFile, path: Path) -> None:
    """And see what was there before it."""
    write(file, "before")
    other = SqliteFile(path, SCHEMA, 3, busy_s=0)
    with file.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('inside')")
        assert notes(other) == ["before"]
    other.close()


def test_who_only_reads_gets_the_connection_that_was_used_last(file: SqliteFile) -> None:
    """In whatever thread: it remembers what it has read, and there are no more of them than are used at once."""

    def lent() -> sqlite3.Connection:
        with file.reading() as connection:
            return connection

    def lent_two() -> set[sqlite3.Connection]:
        with file.reading() as one, file.reading() as another:
            return {one, another}

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        one = first.submit(lent).result(20)
        both = second.submit(lent_two).result(20)
        last = first.submit(lent).result(20)
        assert len(both) == 2
        assert one in both
        assert second.submit(lent).result(20) is last
        assert len(file._all) == 3, "one more is this thread's, which has made the tables"


def test_who_writes_reads_what_is_not_committed_yet_and_nobody_else_does(file: SqliteFile) -> None:
    def read() -> list[str]:
        with file.reading() as connection:
            return [text for (text,) in connection.execute("SELECT text FROM notes")]

    with ThreadPoolExecutor(1) as others, file.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('inside')")
        assert read() == ["inside"]
        assert others.submit(read).result(20) == []


def test_a_connection_that_comes_back_after_the_end_is_lent_to_nobody(file: SqliteFile) -> None:
    def outlive() -> None:
        with file.reading():
            file.close()
        with file.reading() as connection:
            connection.execute("SELECT * FROM notes")

    with ThreadPoolExecutor(1) as others:
        others.submit(outlive).result(20)


@pytest.mark.parametrize(
    "code",
    [
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_BUSY_SNAPSHOT,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CANTOPEN_ISDIR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_READONLY_DBMOVED,
        sqlite3.SQLITE_NOMEM,
    ],
)
def test_what_may_pass_is_unavailable_in_all_its_kinds(file: SqliteFile, code: int) -> None:
    """The worker tries again, and acknowledges nothing meanwhile."""
    error = sqlite3.OperationalError("on demand")
    error.sqlite_errorcode = code
    with pytest.raises(Unavailable, match="on demand"), file.errors():
        raise error


@pytest.mark.parametrize("code", [sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_CORRUPT])
def test_what_will_not_pass_crashes_in_sight(file: SqliteFile, code: int) -> None:
    """To try again for ever would hide it."""
    error = sqlite3.DatabaseError("on demand")
    error.sqlite_errorcode = code
    with pytest.raises(sqlite3.DatabaseError), file.errors():
        raise error


def test_after_an_error_the_next_transaction_begins_anew(file: SqliteFile) -> None:
    def fail() -> None:
        with file.transaction() as connection:
            connection.execute("INSERT INTO notes VALUES ('lost')")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    write(file, "kept")
    assert notes(file) == ["kept"]


@pytest.mark.parametrize("version", [0, 2, 4])
def test_tables_of_an_older_or_newer_program_are_refused(path: Path, version: int) -> None:
    SqliteFile(path, SCHEMA, 3).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={version}")
    connection.close()
    with pytest.raises(InvalidSettings, match=f"version {version}, this program needs 3"):
        SqliteFile(path, SCHEMA, 3)


UPGRADES = {
    1: "ALTER TABLE notes ADD COLUMN author TEXT;\n",
    2: "UPDATE notes SET author = 'somebody';\nALTER TABLE notes ADD COLUMN title TEXT;\n",
}


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_file_is_taken_through_every_version(path: Path, version: int) -> None:
    file = SqliteFile(path, SCHEMA, 1)
    write(file)
    file.close()
    for until in range(version, 4):
        SqliteFile(path, SCHEMA, until, upgrades=UPGRADES).close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT * FROM notes").fetchall() == [("x", "somebody", None)]
    connection.close()


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    file = SqliteFile(path, SCHEMA, 1)
    write(file)
    file.close()
    with pytest.raises(InvalidSettings, match="no such table: letters"):
        SqliteFile(path, SCHEMA, 3, upgrades={1: UPGRADES[1], 2: "DROP TABLE letters;\n"})
    file = SqliteFile(path, SCHEMA, 1)
    assert file.connection().execute("SELECT * FROM notes").fetchall() == [("x",)]
    file.close()


def test_a_version_from_which_no_upgrade_leads_here_is_refused(path: Path) -> None:
    SqliteFile(path, SCHEMA, 4).close()
    with pytest.raises(InvalidSettings, match="version 4, this program needs 3"):
        SqliteFile(path, SCHEMA, 3, upgrades=UPGRADES)


def test_closed_it_leaves_one_file_whatever_threads_used_it(path: Path) -> None:
    """SQLite tidies its log away with the last connection: then the one file is all that a backup needs."""
    file = SqliteFile(path, SCHEMA, 3)
    ends = threading.Event()
    used = threading.Event()

    def use() -> None:
        write(file)
        used.set()
        ends.wait(5)

    other = threading.Thread(target=use)
    other.start()
    assert used.wait(5)
    file.close()
    ends.set()
    other.join()
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_file_of_a_known_older_version_is_upgraded_and_keeps_what_is_in_it(file: SqliteFile, path: Path) -> None:
    """Once; a version without a way from it is refused still."""
    write(file)
    for _ in range(2):
        newer = SqliteFile(path, SCHEMA, 4, upgrades={3: "ALTER TABLE notes ADD COLUMN more TEXT;\n"})
        assert newer.connection().execute("SELECT text, more FROM notes").fetchall() == [("x", None)]
        newer.close()
    with pytest.raises(InvalidSettings, match="version 4, this program needs 5"):
        SqliteFile(path, SCHEMA, 5, upgrades={3: "DROP TABLE notes;\n"})
