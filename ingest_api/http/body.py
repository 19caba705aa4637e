"""Reads the body of a POST: its type, its encoding, its size."""

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Request

from shared.contract.batches import NDJSON_TYPES
from shared.contract.limits import MAX_BODY_BYTES, MAX_GZIP_MEMBERS, SMALL_BYTES
from shared.domain.errors import Problem, TooLargeInput, Unavailable, UnreadableInput, UnsupportedInput
from shared.http.app import request_source

TOGETHER_BYTES = 32 * 1024 * 1024
"""Memory that all large bodies may take together, each until it is on disk: four of full size, or two in gzip."""
LARGE_AT_A_TIME = 16
"""How many large bodies may be in memory or wait for it: half of the threads that answer requests."""
TURN_S = 10.0
PLAIN_TYPES = ("", "text/plain")
"""Accepted as JSON, but not from pages of other sites: browsers send these types without asking the server first."""
GZIP_RATIO = 1032
"""DEFLATE cannot compress more than this."""
_GZIP = 16 + zlib.MAX_WBITS


class Room:
    """Limits the memory for large bodies. A body that waits stays on the server's disk."""

    def __init__(self, size_bytes: int = TOGETHER_BYTES, bodies: int = LARGE_AT_A_TIME) -> None:
        """Start with all of it free."""
        self._free, self._places = size_bytes, bodies
        self._changed = threading.Condition()

    @contextmanager
    def body(self, request: Request) -> Iterator[bytes]:
        """Yield the JSON of a request, and hold its memory meanwhile; small bodies do not count.

        Raises:
            TooLargeInput: over the limit, before or after unpacking.
            UnreadableInput: not valid gzip.
            UnsupportedInput: another type than JSON, or another encoding than gzip.
            Unavailable: there was no memory in time.

        """
        is_gzip = _is_gzip(request)
        sent = request.stream.read(SMALL_BYTES + 1)
        if len(sent) <= SMALL_BYTES:
            small = gunzip(sent, SMALL_BYTES) if is_gzip else sent
            if len(small) <= SMALL_BYTES:
                yield small
                return
        with self.of(_most_bytes(request, len(sent), is_gzip=is_gzip)):
            rest = request.stream.read(MAX_BODY_BYTES + 1 - len(sent))
            yield _unpacked(sent + rest, is_gzip=is_gzip)

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Hold the memory that a large body may need.

        Raises:
            Unavailable: too many others wait already, or the memory was not free in time.

        """
        with self._changed:
            if not self._places:
                raise Unavailable("too many large bodies are being processed")
            self._places -= 1
            is_free = self._changed.wait_for(lambda: self._free >= size, TURN_S)
            held = size if is_free else 0
            self._free -= held
        try:
            if not is_free:
                raise Unavailable("large bodies use all of their memory")
            yield
        finally:
            with self._changed:
                self._places += 1
                self._free += held
                self._changed.notify_all()


def _most_bytes(request: Request, read: int, *, is_gzip: bool) -> int:
    """Return the most memory that a body may need; for gzip the compressed and the unpacked size."""
    size = request.content_length or (read if read <= SMALL_BYTES else MAX_BODY_BYTES)
    return size + min(size * GZIP_RATIO, MAX_BODY_BYTES) if is_gzip else size


def is_ndjson(request: Request) -> bool:
    """Return whether the body has one batch on each line."""
    return request.mimetype in NDJSON_TYPES


def _is_gzip(request: Request) -> bool:
    """Check the headers that describe the body; return whether it is gzip."""
    if request.content_length is not None and request.content_length > MAX_BODY_BYTES:
        raise _too_large()
    if not (request.is_json or is_ndjson(request) or _is_plain(request)):
        raise _unsupported("Content-Type", "should be application/json, or application/x-ndjson")
    match request.environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower():
        case "identity":
            return False
        case "gzip" | "x-gzip":
            return True
        case _:
            raise _unsupported("Content-Encoding", "should be gzip, or left out")


def _is_plain(request: Request) -> bool:
    """Return whether the body may be JSON that is not called so: not from a browser that shows another site."""
    return request.mimetype in PLAIN_TYPES and not request_source(request).is_cross_site


def _unpacked(sent: bytes, *, is_gzip: bool) -> bytes:
    if len(sent) <= MAX_BODY_BYTES:
        body = gunzip(sent) if is_gzip else sent
        if len(body) <= MAX_BODY_BYTES:
            return body
    raise _too_large()


def gunzip(packed: bytes, most: int = MAX_BODY_BYTES) -> bytes:
    """Unpack at most one byte more than `most`, however much there is.

    Raises:
        UnreadableInput: not gzip, cut short, or too many members.

    """
    parts: list[bytes] = []
    room = most + 1
    while packed and room:
        if len(parts) == MAX_GZIP_MEMBERS:
            raise UnreadableInput(f"the body has more than {MAX_GZIP_MEMBERS} gzip members")
        member = zlib.decompressobj(_GZIP)
        try:
            parts.append(member.decompress(packed, room))
        except zlib.error as error:
            raise UnreadableInput(f"the body is not gzip: {error}") from None
        room -= len(parts[-1])
        if room and not member.eof:
            raise UnreadableInput("the body is not gzip: it is cut short")
        packed = member.unused_data.lstrip(b"\0")  # gzip ignores zeros after a member: they may fill up a block
    return b"".join(parts)


def _too_large() -> TooLargeInput:
    return TooLargeInput(f"a body may have at most {MAX_BODY_BYTES} bytes, before and after unpacking")


def _unsupported(header: str, problem: str) -> UnsupportedInput:
    return UnsupportedInput(f"{header} {problem}", (Problem(header, problem),))
