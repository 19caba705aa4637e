"""Parsing JSON from untrusted senders: its size is limited before any object is built."""

import codecs

import numpy as np
from pydantic_core import from_json

from shared.contract.limits import MAX_CONTAINERS, MAX_ELEMENTS, SMALL_BYTES
from shared.domain.errors import InvalidInput, Problem, UnreadableInput

_WIDE = (
    ("UTF-32", codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, (1, 2, 3), (0, 1, 2)),
    ("UTF-16", codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, (1, 3), (0, 2)),
)
"""Encodings that have NUL bytes in JSON: their byte order marks, and which of the first four bytes are NUL."""
_CONTROLS = bytes(each for each in range(32) if each not in b"\t\r\n")


def read_json(text: bytes) -> object:
    """Parse UTF-8 JSON into Python objects. The parser itself refuses more than 200 levels.

    Raises:
        InvalidInput: too many objects, lists, members or entries; nothing was built.
        UnreadableInput: not JSON.

    """
    if len(text) > SMALL_BYTES:
        text = stripped(text)
        check_counts(text)
    try:
        return from_json(text, cache_strings="keys")
    except ValueError as error:
        inner = stripped(text)  # only now: the usual text is not searched for what it does not have
        if len(inner) == len(text):
            raise UnreadableInput(_why(text, error)) from None
    try:
        return from_json(inner, cache_strings="keys")
    except ValueError as error:
        raise UnreadableInput(_why(inner, error)) from None


def stripped(text: bytes) -> bytes:
    """Return a text without a byte order mark, and without NUL bytes at its end, as C programs send them."""
    if b"\0" in text[-3:]:  # a line break may follow
        text = text.rstrip(b"\0\r\n")
    return text.removeprefix(codecs.BOM_UTF8)


def _why(text: bytes, error: ValueError) -> str:
    """Return why a text cannot be parsed: the name of its encoding, if that is not UTF-8."""
    nul = tuple(i for i, each in enumerate(text[:4]) if not each)
    for name, little, big, nul_little, nul_big in _WIDE:
        if text.startswith((little, big)) or nul in {nul_little, nul_big}:
            return f"the body is {name}; send UTF-8"
    try:
        text.decode()
    except UnicodeDecodeError as fault:
        if len(text.translate(None, _CONTROLS)) == len(text):
            return "the body is Latin-1 or Windows-1252; send UTF-8"
        return f"the body is not UTF-8: {fault.reason} at byte {fault.start}"
    return f"Invalid JSON: {error}"


def check_counts(text: bytes) -> None:
    """Refuse a text with too many parts. The quick count includes characters in strings; the exact one does not."""
    if _is_within(text.count(b"{") + text.count(b"["), text.count(b",")):
        return
    characters, outside = np.frombuffer(text, np.uint8), _outside_strings(text)
    objects, lists, commas = (int(np.count_nonzero((characters == ord(each)) & outside)) for each in "{[,")
    if not _is_within(objects + lists, commas):
        limits = f"{MAX_CONTAINERS:,} objects and lists or {MAX_ELEMENTS:,} members and entries"
        raise InvalidInput("the JSON has too many parts", (Problem("body", f"has more than {limits}"),))


def _is_within(containers: int, commas: int) -> bool:
    # A container with n parts has n - 1 commas, and the outermost container is not a part.
    return containers <= MAX_CONTAINERS and containers + commas <= MAX_ELEMENTS


def _outside_strings(text: bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return for each byte whether it is outside strings; for the quotes themselves the result has no meaning."""
    if b"\\" in text:  # replace \\ first: in \\" the two backslashes belong together
        text = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    quotes = np.frombuffer(text, np.uint8) == ord('"')
    outside: np.ndarray[tuple[int], np.dtype[np.bool_]] = ~np.logical_xor.accumulate(quotes)
    return outside
