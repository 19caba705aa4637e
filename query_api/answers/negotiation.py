"""Sends an answer of many rows: chooses its format, handles conditional requests and gzip, streams what is long."""

import hashlib
import logging
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from tempfile import TemporaryFile
from typing import IO

from flask import Response, request
from prometheus_client import Counter
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import NotAcceptable
from werkzeug.wsgi import wrap_file

from query_api.answers.formats import FORMATS, Format, Name
from query_api.answers.heavy import Place
from shared.domain.errors import InvalidInput, Problem, Unavailable
from shared.http.app import Cut

log = logging.getLogger(__name__)

WHOLE_BYTES = 2 * 2**20
"""Answers up to this size, about a year of a ship, have a `Content-Length`; longer ones are streamed in chunks."""
FILE_BYTES = 64 * 2**20
"""Maximum size of a long answer over HTTP/1.0, which has no chunks: it is written to a file before it is sent."""
MIN_GZIP_BYTES = 1024
"""Smaller answers are not compressed."""
LEVEL = 5
_GZIP_WBITS = 31


def choose_format(name: Name | None) -> Format:
    """Return the format with this name, or without a name the one that `Accept` prefers.

    Raises:
        NotAcceptable: `Accept` allows none.

    """
    by_type = {each.type: each for each in FORMATS}
    if name is not None:
        return next(each for each in FORMATS if each.name == name)
    if not request.headers.get("Accept"):
        return FORMATS[0]
    accepted = MIMEAccept((each.partition(";")[0].rstrip(), quality) for each, quality in request.accept_mimetypes)
    best = accepted.best_match(list(by_type))  # parameters of a media type make no difference
    if best is None:
        raise NotAcceptable(f"Available are {', '.join(by_type)}.")
    return by_type[best]


def entity_tag(*parts: object) -> str:
    """Return a digest of everything that an answer depends on."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(b"%d:" % len(data))  # so that ("ab", "c") and ("a", "bc") differ
        digest.update(data)
    return digest.hexdigest()


def answer(  # noqa: PLR0913  # what an answer is made of, and what it may need while it is streamed
    form: Format, tag: str | None, pieces: Iterator[bytes], name: str, *, errors: Counter, place: Place | None = None
) -> Response:
    """Return the answer to the current request, or 304 if the client already has it.

    Args:
        form: its format.
        tag: the entity tag; None where the version of the slots is unknown.
        pieces: the answer; not read for a 304. Errors of the pieces read here are raised.
        name: the file name under which a browser saves it, without extension.
        errors: counts failures of the store while the answer is streamed.
        place: of a heavy answer.

    """
    headers = {"Cache-Control": "private, no-cache" if "Authorization" in request.headers else "no-cache"}
    if tag is not None:
        headers["ETag"] = f'W/"{tag}"'
        if request.if_none_match.contains_weak(tag) or request.if_none_match.star_tag:
            return Response(status=304, headers=headers)
    headers["Content-Type"] = form.content_type
    if form is not FORMATS[0]:
        headers["Content-Disposition"] = f'attachment; filename="{name}.{form.name}"'
    first, is_all = _read_start(pieces)
    if not form.is_compressed and _accepts_gzip() and not (is_all and len(first) < MIN_GZIP_BYTES):
        headers["Content-Encoding"] = "gzip"
        first, rest = _gzipped(first, pieces)
    else:
        rest = pieces
    if is_all:
        return Response(first + b"".join(rest), headers=headers)
    stream = chain([first], rest)
    if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":  # it cannot see truncation
        return _from_file(stream, headers)
    response = Response(_close_on_error(stream, errors), headers=headers)
    if place is not None:
        place.keep(response)
    return response


def _accepts_gzip() -> bool:
    accepted = request.accept_encodings
    return accepted["gzip"] > 0 and accepted["gzip"] >= accepted["identity"]


def _close_on_error(pieces: Iterator[bytes], errors: Counter) -> Iterator[bytes]:
    """Close the connection if the store fails, so that the client does not take the answer for a whole one."""
    try:
        with errors.count_exceptions(Unavailable):
            yield from pieces
    except Unavailable as error:
        log.warning("an answer was cut off: %s", error)
        raise Cut from error


def _read_start(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """Read pieces until they exceed `WHOLE_BYTES`; return their bytes and whether these are the whole answer."""
    taken: list[bytes] = []
    size = 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size > WHOLE_BYTES:
            return b"".join(taken), False
    return b"".join(taken), True


def _gzipped(first: bytes, rest: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    compressor = zlib.compressobj(LEVEL, wbits=_GZIP_WBITS)

    def gzip_rest() -> Iterator[bytes]:
        for piece in rest:
            yield compressor.compress(piece)
        yield compressor.flush()

    return compressor.compress(first), gzip_rest()


def _from_file(pieces: Iterator[bytes], headers: dict[str, str]) -> Response:
    with ExitStack() as on_error:
        file: IO[bytes] = on_error.enter_context(TemporaryFile())
        for piece in pieces:
            file.write(piece)
            if file.tell() > FILE_BYTES:
                why = f"selects more than {FILE_BYTES // 2**20} MiB, the limit of an answer over HTTP/1.0: use HTTP/1.1"
                raise InvalidInput("the answer is too long for HTTP/1.0", (Problem("start", why),))
        on_error.pop_all()  # the response will close the file
    headers["Content-Length"] = str(file.tell())
    file.seek(0)
    return Response(wrap_file(request.environ, file), headers=headers, direct_passthrough=True)
