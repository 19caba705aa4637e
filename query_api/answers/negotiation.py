"""An answer of many rows on its way out: in which form, whether it is news, packed or not, whole or as it comes."""

import hashlib
import logging
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from tempfile import TemporaryFile
from typing import IO

from flask import Request, Response
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
"""Up to here, which is a year of a ship, an answer is sent with its length, and the connection kept; longer ones are
sent as they come."""
FILE_BYTES = 64 * 2**20
"""An answer over HTTP/1.0 is written to a file before it is sent, and is no longer than that."""
WORTH_BYTES = 1024
"""Below, packing gains nothing."""
LEVEL = 5
_GZIP = 31


def chosen(request: Request, name: Name | None) -> Format:
    """Choose the form that a request names, else the one that its `Accept` likes best.

    Raises:
        NotAcceptable: there is none that it takes.

    """
    by_type = {each.type: each for each in FORMATS}
    if name is not None:
        return next(each for each in FORMATS if each.name == name)
    if not request.headers.get("Accept"):
        return FORMATS[0]
    taken = MIMEAccept((each.partition(";")[0].rstrip(), quality) for each, quality in request.accept_mimetypes)
    best = taken.best_match(list(by_type))  # with any parameters: ours mean the same with all of them
    if best is None:
        raise NotAcceptable(f"There is {', '.join(by_type)}.")
    return by_type[best]


def tag_of(*parts: object) -> str:
    """Make an entity tag of all that an answer depends on."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(b"%d:" % len(data))  # which keeps parts apart
        digest.update(data)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer's form; `errors` counts where the store fails, `place` is that of a heavy answer."""

    request: Request
    format: Format
    errors: Counter
    place: Place | None = None

    def answer(self, tag: str | None, pieces: Iterator[bytes], file_name: str) -> Response:
        """Send the pieces, or 304 where the receiver has them.

        Args:
            tag: what is different once the answer is; None where that is not known.
            pieces: the answer; none is taken if it is not sent. What the first of them raise goes to the caller.
            file_name: what a browser may save it as, without its ending.

        """
        headers = {"Cache-Control": self._cache_control()}
        if tag is not None:
            headers["ETag"] = f'W/"{tag}"'
            if self.request.if_none_match.contains_weak(tag) or self.request.if_none_match.star_tag:
                return Response(status=304, headers=headers)
        headers["Content-Type"] = self.format.content_type
        if self.format is not FORMATS[0]:
            headers["Content-Disposition"] = f'attachment; filename="{file_name}.{self.format.name}"'
        first, is_all = _gathered(pieces)
        if self._takes_gzip() and not (is_all and len(first) < WORTH_BYTES):
            headers["Content-Encoding"] = "gzip"
            first, rest = _packed(first, pieces)
        else:
            rest = pieces
        if is_all:
            return Response(first + b"".join(rest), headers=headers)
        stream = chain([first], rest)
        if self.request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":  # which could not see that it was cut
            return _from_file(self.request, stream, headers)
        response = Response(self._guarded(stream), headers=headers)
        if self.place is not None:
            self.place.keep(response)
        return response

    def _cache_control(self) -> str:
        return "private, no-cache" if "Authorization" in self.request.headers else "no-cache"

    def _takes_gzip(self) -> bool:
        takes = self.request.accept_encodings
        return not self.format.is_packed and takes["gzip"] > 0 and takes["gzip"] >= takes["identity"]

    def _guarded(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Cut the connection where the store fails: the answer has begun, and must not look whole."""
        try:
            with self.errors.count_exceptions(Unavailable):
                yield from pieces
        except Unavailable as error:
            log.warning("an answer was cut off: %s", error)
            raise Cut from error


def _gathered(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """Take so much that it is worth a message, and tell whether that is all."""
    taken: list[bytes] = []
    size = 0
    for piece in pieces:
        taken.append(piece)
        size += len(piece)
        if size > WHOLE_BYTES:
            return b"".join(taken), False
    return b"".join(taken), True


def _packed(first: bytes, rest: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    packer = zlib.compressobj(LEVEL, wbits=_GZIP)

    def pack_rest() -> Iterator[bytes]:
        for piece in rest:
            yield packer.compress(piece)
        yield packer.flush()

    return packer.compress(first), pack_rest()


def _from_file(request: Request, pieces: Iterator[bytes], headers: dict[str, str]) -> Response:
    with ExitStack() as if_it_fails:
        file: IO[bytes] = if_it_fails.enter_context(TemporaryFile())
        for piece in pieces:
            file.write(piece)
            if file.tell() > FILE_BYTES:
                why = f"is over more than {FILE_BYTES // 2**20} MiB, and HTTP/1.0 has no longer answers: use HTTP/1.1"
                raise InvalidInput("the answer is too long for HTTP/1.0", (Problem("start", why),))
        if_it_fails.pop_all()  # the response closes it
    headers["Content-Length"] = str(file.tell())
    file.seek(0)
    return Response(wrap_file(request.environ, file), headers=headers, direct_passthrough=True)
