"""What is kept in a data folder is for its owner alone, whatever the umask is."""

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import pytest

from ingest_api.outbox.outbox import Outbox
from power_cli import mosquitto
from power_cli.up import _locked
from shared.runtime.private_files import make_private, private_folder
from shared.runtime.sqlite_files import SqliteFile

SCHEMA = "CREATE TABLE notes (text TEXT);\n"


@pytest.fixture(autouse=True)
def _lax() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: mode(path) for path in (folder, *folder.rglob("*"))}


def write(file: SqliteFile) -> None:
    with file.transaction() as connection:
        connection.execute("INSERT INTO notes VALUES ('x')")


def test_database_and_its_log_are_private(tmp_path: Path) -> None:
    file = SqliteFile(tmp_path / "data" / "notes.sqlite", SCHEMA, 1)
    write(file)
    assert modes(tmp_path / "data") == {
        "data": 0o700,
        "notes.sqlite": 0o600,
        "notes.sqlite-wal": 0o600,
        "notes.sqlite-shm": 0o600,
    }
    file.close()


def test_what_an_older_version_made_is_tightened(tmp_path: Path) -> None:
    """Also while another process has it open; and opening it releases none of the locks of this one."""
    folder = tmp_path / "data"
    first = SqliteFile(folder / "notes.sqlite", SCHEMA, 1)
    write(first)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    second = SqliteFile(folder / "notes.sqlite", SCHEMA, 1)
    assert set(modes(folder).values()) == {0o700, 0o600}
    write(second)
    write(first)
    for each in (first, second):
        each.close()


def test_all_that_gateway_and_broker_have_in_the_folder_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "mosquitto").mkdir(parents=True)
    for path in (folder / "outbox.lock", folder / "lock", folder / "mosquitto" / "mosquitto.db"):
        path.touch()
    _locked(folder).close()
    mosquitto.configure(folder / "mosquitto", 1883)
    Outbox(folder, 1 << 30).close()
    found = modes(folder)
    assert {found.pop(name) for name in ("data", "mosquitto")} == {0o700}
    assert set(found) == {"outbox.lock", "lock", "outbox.sqlite", "mosquitto.conf", "mosquitto.db"}
    assert set(found.values()) == {0o600}


def test_what_all_users_share_or_is_not_ours_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as /tmp. A folder of somebody else that we may use works, too."""
    shared, other = tmp_path / "shared", tmp_path / "other"
    shared.mkdir()
    shared.chmod(0o1777)
    private_folder(shared)
    assert mode(shared) == 0o1777
    other.mkdir(0o755)
    (other / "file").touch(0o644)
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    private_folder(other)
    make_private(other / "file")
    assert (mode(other), mode(other / "file")) == (0o755, 0o644)


def test_rights_that_the_owner_has_taken_away_stay_away(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o444)
    make_private(path)
    assert mode(path) == 0o400


def test_missing_folder_of_a_file_is_no_error_of_this(tmp_path: Path) -> None:
    """Whoever opens the file says what is wrong."""
    make_private(tmp_path / "missing" / "file")
