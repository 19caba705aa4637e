"""Reading JSON from strangers: what a text may cost is bounded before anything is built from it."""

import numpy as np
from pydantic_core import from_json

from shared.domain.errors import InvalidInput, Problem, UnreadableInput

SMALL_BYTES = 64 * 1024
"""A text up to this size costs little whatever it holds, and is not counted."""
MAX_CONTAINERS = 210_000
"""Objects and lists in one text: 100,000 readings, each with one more object or list in it."""
MAX_ELEMENTS = 750_000
"""Members and list entries in one text: 100,000 readings of 6 members each, and the readings."""


def read_json(text: bytes) -> object:
    """Parse UTF-8 JSON into Python objects. The parser itself refuses more than 200 levels.

    Raises:
        InvalidInput: more objects, lists, members or entries than one text may have; nothing was built.
        UnreadableInput: not JSON.

    """
    if len(text) > SMALL_BYTES:
        _check_counts(text)
    try:
        return from_json(text, cache_strings="keys")
    except ValueError as error:
        raise UnreadableInput(f"Invalid JSON: {error}") from None


def _check_counts(text: bytes) -> None:
    """Refuse a text with too many parts; what stands inside strings is looked at only where it matters."""
    if _is_within(text.count(b"{") + text.count(b"["), text.count(b",")):
        return
    marks, outside = np.frombuffer(text, np.uint8), _outside_strings(text)
    objects, lists, commas = (int(np.count_nonzero((marks == ord(each)) & outside)) for each in "{[,")
    if not _is_within(objects + lists, commas):
        limits = f"{MAX_CONTAINERS:,} objects and lists or {MAX_ELEMENTS:,} members and entries"
        raise InvalidInput("the JSON has too many parts", (Problem("body", f"has more than {limits}"),))


def _is_within(opens: int, commas: int) -> bool:
    # A container with n parts has n - 1 commas, and the outermost one is no part.
    return opens <= MAX_CONTAINERS and opens + commas <= MAX_ELEMENTS


def _outside_strings(text: bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Tell of each byte whether it stands outside strings; of quotes this is of no use."""
    if b"\\" in text:  # pairs first: of \\" only the two backslashes belong together
        text = text.replace(b"\\\\", b"__").replace(b'\\"', b"__")
    quotes = np.frombuffer(text, np.uint8) == ord('"')
    outside: np.ndarray[tuple[int], np.dtype[np.bool_]] = ~np.logical_xor.accumulate(quotes)
    return outside
