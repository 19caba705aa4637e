"""One worker at a time on a data folder: the others stand by until the system frees the lock of the one that has it."""

import fcntl
import logging
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

from shared.domain.errors import InvalidSettings, Unavailable
from shared.runtime.private_files import make_private, private_folder

log = logging.getLogger(__name__)

LOCK_NAME = "worker.lock"
RETRY_S = 0.25


class DataFolder:
    """A data folder, and the name of the worker that works on it: the same after a restart."""

    def __init__(self, folder: Path) -> None:
        """Prepare; nothing is locked before `take`.

        Raises:
            InvalidSettings: the folder cannot be written.

        """
        self._path = folder / LOCK_NAME
        try:
            private_folder(folder)
            make_private(self._path)
            self._file = self._path.open("r+", encoding="utf-8")
        except OSError as error:
            raise InvalidSettings(f"cannot use {self._path}: {error.strerror}") from None

    def take(self, standing_by: Callable[[str], None], stopping: Callable[[], bool]) -> str:
        """Wait for the folder, and name its worker; `standing_by` is told once why it takes long.

        Raises:
            Unavailable: the process is to end.

        """
        told = False
        while not self.lock():
            if not told:
                who = f"worker {self._path.read_text('utf-8').strip()} has the data folder {self._path.parent}"
                log.warning("standing by: %s", who)
                standing_by(who)
                told = True
            if stopping():
                raise Unavailable("the worker was stopped while it stood by")
            time.sleep(RETRY_S)
        return self._name()

    def lock(self) -> bool:
        """Lock the folder unless another process has it; return whether it is ours, now or already."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _name(self) -> str:
        self._file.seek(0)
        number = next(iter(self._file.read().split()), "") or secrets.token_hex(4)
        name = f"{number} on {socket.gethostname()}"
        self._file.seek(0)
        self._file.truncate()
        self._file.write(name)
        self._file.flush()
        return name

    def close(self) -> None:
        """Leave the folder to the next worker."""
        self._file.close()
