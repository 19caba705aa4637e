"""Opens the outbox's file, for one process at a time and unless it is damaged, and watches the space on its disk."""

import fcntl
import os
import resource
import sqlite3
from pathlib import Path
from typing import IO

from shared.contract.limits import MAX_BODY_BYTES
from shared.domain.errors import InvalidSettings, Unavailable
from shared.runtime.private_files import make_private, private_folder
from shared.runtime.sqlite_files import SqliteFile

FILE_NAME = "outbox.sqlite"
LOCK_NAME = "outbox.lock"
_SCHEMA = Path(__file__).with_name("schema.sql")
_FROM_1 = Path(__file__).with_name("from_1.sql")
_FROM_2 = Path(__file__).with_name("from_2.sql")
_VERSION = 3
CHECKPOINT_PAGES = 1000
LOG_BYTES = CHECKPOINT_PAGES * 4096 + MAX_BODY_BYTES
"""Longest write-ahead log, whatever the size of the batches: up to the checkpoint, and one batch of full size."""
MARGIN_BYTES = 2 * 1024 * 1024
PLENTY_BYTES = 256 * 1024 * 1024
CACHE_KIB = 1024
"""For each connection; there may be one for each thread."""


def lock_folder(folder: Path) -> IO[str]:
    """Lock a folder for this process: two gateways on one outbox would not know each other's usage.

    Raises:
        InvalidSettings: the folder cannot be written, or another process has the lock.

    """
    try:
        private_folder(folder)
        make_private(folder / LOCK_NAME)
        lock = (folder / LOCK_NAME).open("w", encoding="utf-8")
    except OSError as error:
        raise InvalidSettings(f"cannot keep accepted batches in {folder}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise InvalidSettings(f"the outbox in {folder} is in use by another gateway") from None
    return lock


def open_file(folder: Path) -> SqliteFile:
    """Open the file in a folder, or create it.

    Raises:
        InvalidSettings: the file cannot be used, or is damaged; it is not changed.
        Unavailable: the disk is full, or another program is writing the file.

    """
    path = folder / FILE_NAME
    upgrades = {1: _FROM_1.read_text("utf-8"), 2: _FROM_2.read_text("utf-8")}
    file = SqliteFile(path, _SCHEMA.read_text("utf-8"), _VERSION, upgrades=upgrades, cache_kib=CACHE_KIB)
    try:
        _check(file)
    except BaseException as error:
        file.close()
        if not isinstance(error, sqlite3.DatabaseError):
            raise
        why = " ".join(str(error).split())
        raise InvalidSettings(
            f"{path} is damaged ({why}), and accepted batches may be in it: to start without them,"
            " move it away together with its -wal and -shm"
        ) from None
    return file


def _check(file: SqliteFile) -> None:
    """Check the table of waiting batches only: batch status may have millions of rows."""
    with file.errors():
        found = str(file.connection().execute("PRAGMA quick_check(outbox)").fetchone()[0])
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def rewrite_version(connection: sqlite3.Connection) -> None:
    """Write the version that the file has already, to find out whether the file can be written."""
    connection.execute(f"PRAGMA user_version={_VERSION}")


def has_disk_for(file: SqliteFile, folder: Path, size: int) -> bool:
    """Return whether `size` bytes can be written now, and later also what removes them again.

    They are written to the write-ahead log, which never gets shorter, and then to the file. The file uses its free
    pages before it grows; it may also have to grow for what is in the log already.

    Raises:
        Unavailable: the file cannot be read, is gone, or another file is in its place.

    """
    try:
        found, is_in_place = os.statvfs(folder / FILE_NAME), file.is_in_place()
    except OSError as error:
        raise Unavailable(f"the outbox is unavailable: {error}") from None
    if not is_in_place:
        raise Unavailable(f"the outbox is unavailable: {folder / FILE_NAME} was replaced by another file")
    free, longest = found.f_bavail * found.f_frsize, resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if free >= 2 * size + PLENTY_BYTES and longest == resource.RLIM_INFINITY:
        return True
    with file.reading() as connection:
        page, pages, unused = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_size", "page_count", "freelist_count")
        )
    grown = pages * page + max(size - unused * page, 0)
    if longest != resource.RLIM_INFINITY and max(grown, LOG_BYTES) + MARGIN_BYTES > longest:
        return False
    file_grows = max(grown - _size(folder / FILE_NAME), 0)
    log_grows = max(LOG_BYTES + max(size - MAX_BODY_BYTES, 0) - _size(folder / f"{FILE_NAME}-wal"), 0)
    return free >= file_grows + log_grows + MARGIN_BYTES


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
