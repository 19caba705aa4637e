"""The file of access tokens; the running service reads changes without a restart."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shared.domain.errors import InvalidSettings
from shared.http.tokens import Access, Token, access, anybody, parse

log = logging.getLogger(__name__)

CHECK_S = 1.0
"""How often the file is checked for changes, at most."""


def access_by(path: Path | None) -> Callable[[str | None], Access]:
    """Return the function from an `Authorization` header to its rights; without a file everyone has all rights.

    Raises:
        InvalidSettings: the file cannot be read, or a line is invalid.

    """
    return anybody if path is None else TokenFile(path).access


def read(path: Path) -> tuple[Token, ...]:
    """Read the tokens of a file.

    Raises:
        InvalidSettings: the file cannot be read, or a line is invalid.

    """
    try:
        return parse(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise InvalidSettings(f"cannot read the access tokens in {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSettings(f"cannot read the access tokens in {path}: not UTF-8") from None


class TokenFile:
    """The tokens in the last valid version of a file; can be used from any thread."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Raises:
            InvalidSettings: the file cannot be read, or a line is invalid.

        """
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._error = ""
        self._checked_s = clock()
        self._seen = _signature(path)  # taken before reading: a change in between is found at the next check
        self._tokens = read(path)
        log.info("%d access tokens in %s", len(self._tokens), path)

    def access(self, authorization: str | None) -> Access:
        """Return the rights of the sender of an `Authorization` header.

        Raises:
            Unauthenticated: it contains no token of the file.

        """
        with self._lock:
            if self._clock() - self._checked_s >= CHECK_S:
                self._check()
                self._checked_s = self._clock()
            tokens = self._tokens
        return access(tokens, authorization)

    def _check(self) -> None:
        """Read the file again if it has changed; if it is invalid, keep the tokens and log the error once."""
        try:
            seen = _signature(self._path)
            if seen != self._seen:
                self._tokens, self._seen = read(self._path), seen
                log.info("%d access tokens in %s", len(self._tokens), self._path)
            self._error = ""
        except InvalidSettings as error:
            if str(error) != self._error:
                self._error = str(error)
                log.error("%s; the tokens read before stay valid", error)  # noqa: TRY400  # no bug of ours


def _signature(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        raise InvalidSettings(f"cannot read the access tokens in {path}: {error.strerror}") from None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
