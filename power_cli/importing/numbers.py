"""What the cells of values mean: the decimal mark, and which texts say that a value is missing."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from power_cli.importing.wanted import MAX_CELL, Wanted
from shared.domain.columns import F64, Bools
from shared.domain.errors import InvalidInput

MISSING = frozenset(
    (
        *("", "-", "--", "---", "#n/a", "\\n", "fehlt", "missing", "n/a", "na", "nan", "nil", "none", "null"),
        *("unavailable", "unknown"),
    )
)
_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SPACES = str.maketrans("", "", " '\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{RIGHT SINGLE QUOTATION MARK}")
_SPACED = re.compile(r"[+-]?\d{1,3}(?:[ '\u00a0\u202f\u2019]\d{3})+(?:[.,]\d+)?", re.ASCII)
_GROUPED = {
    mark: re.compile(rf"[+-]?[1-9]\d{{0,2}}(?:[{mark}]\d{{3}})+(?:[{other}]\d*)?", re.ASCII)
    for mark, other in ((",", "."), (".", ","))
}
"""Numbers whose thousands are marked, by the mark."""
_SURE = {
    mark: re.compile(
        rf"[+-]?(?:0*|\d{{4,}}|\d+(?:[{other}]\d{{3}})+)[{mark}]\d+|[+-]?\d*[{mark}](?:\d{{1,2}}|\d{{4,}})", re.ASCII
    )
    for mark, other in ((",", "."), (".", ","))
}
"""Numbers whose decimal mark is certain, by the mark."""
_WHOLE = re.compile(r"[+-]?[1-9]\d*", re.ASCII)


class Numbers(NamedTuple):
    """Values of n cells: NaN where it is missing or is no number, float64[n]; and which are no numbers, bool[n]."""

    value: F64
    is_bad: Bools


def decimal_mark(texts: Sequence[str], separator: str, wanted: Wanted) -> str:
    """Return the decimal mark of values.

    Args:
        texts: the values at the beginning of the file.
        separator: between cells.
        wanted: may tell it.

    Raises:
        InvalidInput: it cannot be known.

    """
    if wanted.decimal is not None:
        return "," if wanted.decimal == "comma" else "."
    texts = [text for text in texts if len(text) <= MAX_CELL]
    sure = {mark: sum(_SURE[mark].fullmatch(each) is not None for each in texts) for mark in ",."}
    if any(sure.values()):
        return "," if sure[","] > sure["."] else "."
    for mark, doubtful in ((",", True), (".", separator == ";" and any(map(_WHOLE.fullmatch, texts)))):
        example = next((each for each in texts if mark in each and _GROUPED[mark].fullmatch(each)), None)
        if example is not None and doubtful:
            raise InvalidInput(f"is the value {example!r} more than a thousand? Say so with --decimal point or comma")
    return "."


def read_numbers(texts: Sequence[str], mark: str) -> Numbers:
    """Convert the texts of values, without blanks around them."""
    found = [_number(text, mark) for text in texts]
    is_bad = np.fromiter((each is None for each in found), np.bool_, len(found))
    return Numbers(np.array([math.nan if each is None else each for each in found], np.float64), is_bad)


def _number(text: str, mark: str) -> float | None:
    """Return a number, NaN for one that is missing, None for what is neither."""
    if mark == "." and len(text) <= MAX_CELL and _PLAIN.fullmatch(text):
        return float(text)
    if len(text) > MAX_CELL:
        return None
    if text.casefold() in MISSING:
        return math.nan
    if _SPACED.fullmatch(text):
        text = text.translate(_SPACES)
    other = "," if mark == "." else "."
    if other in text:
        if not _GROUPED[other].fullmatch(text):
            return None
        text = text.replace(other, "")
    text = text.replace(mark, ".")
    return float(text) if _PLAIN.fullmatch(text) else None
