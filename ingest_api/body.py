"""Reading the body of a POST: its type, its encoding, its bounds."""

import gzip
import io
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Request

from shared.batch import MAX_BYTES
from shared.errors import Problem, TooLargeInput, Unavailable, UnreadableInput, UnsupportedInput
from shared.http import told

TOGETHER_BYTES = 32 * 1024 * 1024
"""How much is read and not yet on the disk, at most: four bodies of full size, or thousands as ships send them."""
TURN_S = 10.0
PLAIN_TYPES = ("", "text/plain")
"""Taken for JSON, too, but not of pages of other sites: these types a browser sends without asking us first."""
GZIP_RATIO = 1032
"""DEFLATE packs no tighter."""


class Room:
    """Has requests wait before they are read: until then they lie with the server, on the disk where they are large."""

    def __init__(self, size_bytes: int = TOGETHER_BYTES) -> None:
        """Begin with all of it free."""
        self._free = size_bytes
        self._changed = threading.Condition()

    @contextmanager
    def of(self, request: Request) -> Iterator[None]:
        """Hold as much as the body of a request may take, unpacked.

        Raises:
            Unavailable: there was not so much in time.

        """
        size = _bound(request)
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= size, TURN_S):
                raise Unavailable("too much is being taken in at a time")
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()


def _bound(request: Request) -> int:
    size = MAX_BYTES if request.content_length is None else request.content_length
    is_packed = request.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
    return min(size * GZIP_RATIO if is_packed else size, MAX_BYTES)


def read(request: Request) -> bytes:
    """Give the bytes of the JSON in a request.

    Raises:
        TooLargeInput: over the limit, as sent or unpacked.
        UnreadableInput: what is called gzip is none.
        UnsupportedInput: called something else than JSON, or in an encoding other than gzip.

    """
    if request.content_length is not None and request.content_length > MAX_BYTES:
        raise _too_large()
    if not request.is_json and (request.mimetype not in PLAIN_TYPES or told(request).is_from_elsewhere):
        raise _unsupported("Content-Type", "should be application/json")
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    body = request.stream.read(MAX_BYTES + 1)
    match encoding:
        case "identity":
            pass
        case "gzip" | "x-gzip":
            body = gunzip(body)
        case _:
            raise _unsupported("Content-Encoding", "should be gzip, or left out")
    if len(body) > MAX_BYTES:
        raise _too_large()
    return body


def gunzip(packed: bytes) -> bytes:
    """Unpack up to one byte over the limit, however much there is.

    Raises:
        UnreadableInput: not gzip, or cut short.

    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as unpacking:
            return unpacking.read(MAX_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise UnreadableInput(f"the body is not gzip: {error}") from None


def _too_large() -> TooLargeInput:
    return TooLargeInput(f"a body may have at most {MAX_BYTES} bytes, unpacked too")


def _unsupported(header: str, problem: str) -> UnsupportedInput:
    return UnsupportedInput(f"{header} {problem}", (Problem(header, problem),))
