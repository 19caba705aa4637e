"""Requests being received: waitress's parser, with size limits and timeouts."""

import io
import os
import tempfile
from typing import Any

from waitress.buffers import OverflowableBuffer, TempfileBasedBuffer
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver
from waitress.utilities import BadRequest, Error

from shared.contract.limits import MAX_BODY_BYTES
from shared.http.open_files import moved_up

MAX_READ_BYTES = 4 * MAX_BODY_BYTES
"""A body above the API's limit is read up to this size, so that its sender receives the 413."""
MAX_HEADER_BYTES = 32 * 1024
IN_MEMORY_BYTES = 64 * 1024
"""A larger body is kept in a temporary file."""
MAX_CHUNK_LINE_BYTES = 1024
MAX_TRAILER_BYTES = 8 * 1024
HEADER_S = 15.0
"""Timeout of the request line and headers."""
BODY_S = 30.0
BODY_BYTES_PER_S = 1024
"""Timeout of a body: `BODY_S`, and a second for each so many bytes received."""


class TooBusy(Error):
    """The answer to a request whose body exceeds the limit of all bodies."""

    code = 503
    reason = "Service Unavailable"


class Request(HTTPRequestParser):
    """A request being received."""

    def __init__(self, adj: Any) -> None:
        """Start with nothing received."""
        super().__init__(adj)
        self.began_s: float | None = None

    def received(self, data: bytes) -> int:
        """See waitress, which does not limit chunk lines and trailers."""
        consumed: int = super().received(data)
        body: Any = self.body_rcv
        if isinstance(body, ChunkedReceiver) and not self.completed and _is_too_long(body):
            self.error: Error | None = BadRequest("a chunk's line, or the trailer, is too long")
            self.completed = True
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """See waitress; the body's file gets a descriptor above those that `select()` supports."""
        super().parse_header(header_plus)
        body: Any = self.body_rcv
        if body is not None:
            body.buf = _Body(IN_MEMORY_BYTES)

    @property
    def body_bytes(self) -> int:
        """Return the size of the body so far, in memory or in a file."""
        body: Any = self.body_rcv
        return 0 if body is None else len(body)

    def is_late(self, now_s: float) -> bool:
        """Return whether it has timed out."""
        if self.began_s is None:
            return False
        limit_s = BODY_S + self.body_bytes / BODY_BYTES_PER_S if self.headers_finished else HEADER_S
        return now_s - self.began_s > limit_s


def _is_too_long(body: ChunkedReceiver) -> bool:
    return len(body.control_line) > MAX_CHUNK_LINE_BYTES or len(body.trailer) > MAX_TRAILER_BYTES


class _Body(OverflowableBuffer):
    def _set_large_buffer(self) -> None:
        kept: Any = self.buf
        file: Any = _BodyFile(kept)
        self.buf = file
        if kept is not None:
            kept.close()
        self.overflowed = True


class _BodyFile(TempfileBasedBuffer):
    def newfile(self) -> Any:
        with tempfile.TemporaryFile("w+b", buffering=0) as low:
            number = moved_up(low.fileno())
        return os.fdopen(number, "w+b", buffering=io.DEFAULT_BUFFER_SIZE)
