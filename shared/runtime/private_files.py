"""Folders and files that only their owner may read, independent of the umask."""

import os
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISVTX

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def private_folder(folder: Path) -> None:
    """Create a folder with mode 0700, and its parents with default modes; an existing folder is tightened.

    Raises:
        OSError: the folder does not exist and cannot be created.

    """
    folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    _tighten(folder, FOLDER_MODE)


def make_private(path: Path) -> None:
    """Create an empty file with mode 0600, or tighten an existing one.

    Errors are left to the code that opens the file. An existing file is not opened here: closing it would release
    SQLite's locks on it in this process.
    """
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))
    tighten_file(path)


def make_database_private(path: Path) -> None:
    """Make a SQLite database private; SQLite gives its mode to the `-wal` and `-shm` files that it creates."""
    make_private(path)
    for suffix in ("-wal", "-shm"):
        tighten_file(path.with_name(path.name + suffix))


def tighten_file(path: Path) -> None:
    """Set mode 0600 on a file, if it exists and is ours."""
    _tighten(path, FILE_MODE)


def _tighten(path: Path, mode: int) -> None:
    """Remove the rights of other users; skip what is not ours, and shared folders such as /tmp."""
    with suppress(OSError):
        found = path.stat()
        if found.st_uid == os.geteuid() and not found.st_mode & S_ISVTX:
            tight = S_IMODE(found.st_mode) & mode
            if tight != S_IMODE(found.st_mode):
                path.chmod(tight)
