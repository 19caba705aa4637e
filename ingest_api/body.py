"""Reading the body of a POST: its type, its encoding, its bounds."""

import gzip
import io
import zlib

from flask import Request

from shared.batch import MAX_BYTES
from shared.errors import Problem, TooLargeInput, UnreadableInput, UnsupportedInput


def read(request: Request) -> bytes:
    """Give the bytes of the JSON in a request.

    Raises:
        TooLargeInput: over the limit, as sent or unpacked.
        UnreadableInput: what is called gzip is none.
        UnsupportedInput: called something else than JSON, or in an encoding other than gzip.

    """
    if request.content_length is not None and request.content_length > MAX_BYTES:
        raise _too_large()
    if request.mimetype and not request.is_json:
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
