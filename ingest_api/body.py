"""Reading the body of a POST: its type, its encoding, its bounds."""

import zlib

from flask import Request
from werkzeug.exceptions import UnsupportedMediaType

from shared.batch import MAX_BYTES
from shared.errors import TooLargeInput, UnreadableInput

GZIP = 31
"""What zlib calls a window of 32 KiB behind a gzip header."""


def read(request: Request) -> bytes:
    """Give the bytes of the JSON in a request.

    Raises:
        TooLargeInput: over the limit, as sent or unpacked.
        UnreadableInput: what is called gzip is none.
        UnsupportedMediaType: neither JSON nor without a type, or in an encoding other than gzip.

    """
    if request.content_length is not None and request.content_length > MAX_BYTES:
        raise _too_large()
    if request.mimetype and not request.is_json:
        raise UnsupportedMediaType("Content-Type must be application/json.")
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    body = request.stream.read(MAX_BYTES + 1)
    match encoding:
        case "identity":
            pass
        case "gzip" | "x-gzip":
            body = gunzip(body)
        case _:
            refusal = UnsupportedMediaType("Content-Encoding must be gzip, or left out.")
            refusal.get_headers = lambda *_: [("Accept-Encoding", "gzip")]  # type: ignore[method-assign]
            raise refusal
    if len(body) > MAX_BYTES:
        raise _too_large()
    return body


def gunzip(packed: bytes) -> bytes:
    """Unpack up to one byte over the limit, however much there is.

    Raises:
        UnreadableInput: not gzip, or cut short.

    """
    unpacked = b""
    try:
        while packed and len(unpacked) <= MAX_BYTES:
            member = zlib.decompressobj(GZIP)
            unpacked += member.decompress(packed, MAX_BYTES + 1 - len(unpacked))
            if not member.eof and len(unpacked) <= MAX_BYTES:
                raise UnreadableInput("the gzip body is cut short")
            packed = member.unused_data
    except zlib.error as error:
        raise UnreadableInput(f"the body is not gzip: {error}") from None
    return unpacked


def _too_large() -> TooLargeInput:
    return TooLargeInput(f"a body may have at most {MAX_BYTES} bytes, unpacked too")
