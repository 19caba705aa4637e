"""Parsing JSON from untrusted senders: its size is limited before any object is built."""

import numpy as np
from pydantic_core import from_json

from shared.contract.limits import MAX_CONTAINERS, MAX_ELEMENTS, SMALL_BYTES
from shared.domain.errors import InvalidInput, Problem, UnreadableInput


def read_json(text: bytes) -> object:
    """Parse UTF-8 JSON into Python objects. The parser itself refuses more than 200 levels.

    Raises:
        InvalidInput: too many objects, lists, members or entries; nothing was built.
        UnreadableInput: not JSON.

    """
    if len(text) > SMALL_BYTES:
        _check_counts(text)
    try:
        return from_json(text, cache_strings="keys")
    except ValueError as error:
        raise UnreadableInput(f"Invalid JSON: {error}") from None


def _check_counts(text: bytes) -> None:
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
