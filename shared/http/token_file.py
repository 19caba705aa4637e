"""The file of access tokens: looked at again while the service runs, so that a change needs no restart."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shared.domain.errors import InvalidSettings
from shared.http.tokens import Access, Token, access, anybody, parse

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""For how long what was read counts without another look at the file."""


def access_by(path: Path | None) -> Callable[[str | None], Access]:
    """Give what tells from an `Authorization` header what its sender may do; without a file, everybody everything.

    Raises:
        InvalidSettings: the file cannot be read, or what it says is wrong.

    """
    return anybody if path is None else TokenFile(path).access


def read(path: Path) -> tuple[Token, ...]:
    """Read the tokens of a file.

    Raises:
        InvalidSettings: the file cannot be read, or what it says is wrong.

    """
    try:
        return parse(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise InvalidSettings(f"cannot read the access tokens in {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSettings(f"cannot read the access tokens in {path}: not UTF-8") from None


class TokenFile:
    """The tokens of a file as it is now, or as it was when it was last good; may be used from any thread."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Raises:
            InvalidSettings: the file cannot be read, or what it says is wrong.

        """
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._trouble = ""
        self._looked_s = clock()
        self._seen = _signature(path)  # before reading: a change in between is then found at the next look
        self._tokens = read(path)
        log.info("%d access tokens in %s", len(self._tokens), path)

    def access(self, authorization: str | None) -> Access:
        """Tell what the sender of an `Authorization` header may do.

        Raises:
            Unauthenticated: no token of the file is in it.

        """
        with self._lock:
            if self._clock() - self._looked_s >= LOOK_S:
                self._look()
                self._looked_s = self._clock()
            tokens = self._tokens
        return access(tokens, authorization)

    def _look(self) -> None:
        """Read the file again if it is another one; keep what there is if it is no good, and say so once."""
        try:
            seen = _signature(self._path)
            if seen != self._seen:
                self._tokens, self._seen = read(self._path), seen
                log.info("%d access tokens in %s", len(self._tokens), self._path)
            self._trouble = ""
        except InvalidSettings as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.error("%s; those that were read before go on counting", error)  # noqa: TRY400  # no bug of ours


def _signature(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        raise InvalidSettings(f"cannot read the access tokens in {path}: {error.strerror}") from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
