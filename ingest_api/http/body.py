"""Reading the body of a POST: its type, its encoding, its bounds."""

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Request

from shared.contract.batch import MAX_BYTES
from shared.contract.json_text import SMALL_BYTES
from shared.domain.errors import Problem, TooLargeInput, Unavailable, UnreadableInput, UnsupportedInput
from shared.http.app import request_source

TOGETHER_BYTES = 32 * 1024 * 1024
"""How much of large bodies is read and not yet on the disk, at most: four of full size, or two that come packed."""
LARGE_AT_A_TIME = 16
"""How many large bodies may be under way, or wait for their turn: half of the threads that answer requests."""
TURN_S = 10.0
PLAIN_TYPES = ("", "text/plain")
"""Taken for JSON, too, but not of pages of other sites: these types a browser sends without asking us first."""
GZIP_RATIO = 1032
"""DEFLATE packs no tighter."""
GZIP_MEMBERS = 16
"""How many members a gzip body may have: each costs something, also where it is empty."""
_GZIP = 16 + zlib.MAX_WBITS


class Room:
    """Has large bodies wait before they are read: until then they lie with the server, on the disk."""

    def __init__(self, size_bytes: int = TOGETHER_BYTES, bodies: int = LARGE_AT_A_TIME) -> None:
        """Begin with all of it free."""
        self._free, self._places = size_bytes, bodies
        self._changed = threading.Condition()

    @contextmanager
    def body(self, request: Request) -> Iterator[bytes]:
        """Give the bytes of the JSON in a request, and hold the room that they take; a small body needs none.

        Raises:
            TooLargeInput: over the limit, as sent or unpacked.
            UnreadableInput: what is called gzip is none.
            UnsupportedInput: called something else than JSON, or in an encoding other than gzip.
            Unavailable: there was no room in time.

        """
        is_packed = _is_packed(request)
        sent = request.stream.read(SMALL_BYTES + 1)
        if len(sent) <= SMALL_BYTES:
            small = gunzip(sent, SMALL_BYTES) if is_packed else sent
            if len(small) <= SMALL_BYTES:
                yield small
                return
        with self.of(_bound(request, len(sent), is_packed=is_packed)):
            rest = request.stream.read(MAX_BYTES + 1 - len(sent))
            yield _unpacked(sent + rest, is_packed=is_packed)

    @contextmanager
    def of(self, size: int) -> Iterator[None]:
        """Hold as much as a large body may take.

        Raises:
            Unavailable: too many others wait already, or there was not so much in time.

        """
        with self._changed:
            if not self._places:
                raise Unavailable("too many large bodies are being taken in at a time")
            self._places -= 1
        try:
            with self._held(size):
                yield
        finally:
            with self._changed:
                self._places += 1

    @contextmanager
    def _held(self, size: int) -> Iterator[None]:
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


def _bound(request: Request, begun: int, *, is_packed: bool) -> int:
    """Tell how many bytes a body may take of which some are read: where it is packed, as it comes and unpacked."""
    size = request.content_length or (begun if begun <= SMALL_BYTES else MAX_BYTES)
    return size + min(size * GZIP_RATIO, MAX_BYTES) if is_packed else size


def _is_packed(request: Request) -> bool:
    """Check what a request says of its body; tell whether it is packed."""
    if request.content_length is not None and request.content_length > MAX_BYTES:
        raise _too_large()
    if not request.is_json and (request.mimetype not in PLAIN_TYPES or request_source(request).is_cross_site):
        raise _unsupported("Content-Type", "should be application/json")
    match request.headers.get("Content-Encoding", "identity").strip().lower():
        case "identity":
            return False
        case "gzip" | "x-gzip":
            return True
        case _:
            raise _unsupported("Content-Encoding", "should be gzip, or left out")


def _unpacked(sent: bytes, *, is_packed: bool) -> bytes:
    if len(sent) <= MAX_BYTES:
        body = gunzip(sent) if is_packed else sent
        if len(body) <= MAX_BYTES:
            return body
    raise _too_large()


def gunzip(packed: bytes, most: int = MAX_BYTES) -> bytes:
    """Unpack up to one byte over a limit, however much there is.

    Raises:
        UnreadableInput: not gzip, cut short, or in too many members.

    """
    parts: list[bytes] = []
    room = most + 1
    while packed and room:
        if len(parts) == GZIP_MEMBERS:
            raise UnreadableInput(f"the body has more than {GZIP_MEMBERS} gzip members")
        member = zlib.decompressobj(_GZIP)
        try:
            parts.append(member.decompress(packed, room))
        except zlib.error as error:
            raise UnreadableInput(f"the body is not gzip: {error}") from None
        room -= len(parts[-1])
        if room and not member.eof:
            raise UnreadableInput("the body is not gzip: it is cut short")
        packed = member.unused_data.lstrip(b"\0")  # as gzip itself has it: zeros may fill up a block
    return b"".join(parts)


def _too_large() -> TooLargeInput:
    return TooLargeInput(f"a body may have at most {MAX_BYTES} bytes, unpacked too")


def _unsupported(header: str, problem: str) -> UnsupportedInput:
    return UnsupportedInput(f"{header} {problem}", (Problem(header, problem),))
