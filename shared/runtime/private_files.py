"""Folders and files that only their owner may read, whatever the umask is."""

import os
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISVTX

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def private_folder(folder: Path) -> None:
    """Make a folder with mode 0700, and its parents as usual; tighten one that is there.

    Raises:
        OSError: it is missing, and cannot be made.

    """
    folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    _tighten(folder, FOLDER_MODE)


def make_private(path: Path) -> None:
    """Make an empty file with mode 0600 where there is none, and tighten one that is there.

    An error is left to whoever opens the file. One that is there is not opened here: to close it again would release
    the locks that SQLite, in the same process, has on it.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))
    tighten_file(path)


def make_database_private(path: Path) -> None:
    """Do so for a SQLite database; the log and the index of a new one get the mode of the database from SQLite."""
    make_private(path)
    for suffix in ("-wal", "-shm"):
        tighten_file(path.with_name(path.name + suffix))


def tighten_file(path: Path) -> None:
    """Give a file mode 0600, if it is there and ours."""
    _tighten(path, FILE_MODE)


def _tighten(path: Path, mode: int) -> None:
    """Take rights from everybody else; leave what is not ours, and what all users share, such as /tmp."""
    with suppress(OSError):
        found = path.stat()
        if found.st_uid == os.geteuid() and not found.st_mode & S_ISVTX:
            tight = S_IMODE(found.st_mode) & mode
            if tight != S_IMODE(found.st_mode):
                path.chmod(tight)
