"""Finds the rows of a CSV: which lines belong together, and which cannot be read.

pandas reads the cells, but it gives up a file at a quote that is never closed, reads a misquoted ``"1"0`` as 10, cannot
tell a missing cell from an empty one, and does not know the line of a row. So it only gets rows that are whole.
"""

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

MAX_ROW_LINES = 100
"""A quoted cell that has more lines is one whose quote is not closed."""


class Record(NamedTuple):
    """One row.

    Attributes:
        line: its first line, from 1 on.
        text: without cells beyond the header's; empty where the row cannot be read.
        cells: how many cells it has.
        fault: why it cannot be read.

    """

    line: int
    text: str
    cells: int
    fault: str | None = None


class Lines:
    """Lines with their numbers, which can be put back."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Begin at line 1."""
        self._lines = iter(lines)
        self._ahead: deque[str] = deque()
        self.number = 0
        """Of the line that was taken last."""

    def __iter__(self) -> Iterator[str]:
        """Yield all lines that are left."""
        while True:
            line = self._ahead.popleft() if self._ahead else next(self._lines, None)
            if line is None:
                return
            self.number += 1
            yield line

    def put_back(self, lines: list[str]) -> None:
        """Give back the lines that were taken last."""
        self._ahead.extendleft(reversed(lines))
        self.number -= len(lines)


def records(lines: Lines, separator: str, width: int) -> Iterator[Record]:
    """Yield the rows that are not empty.

    Args:
        lines: those below the header.
        separator: between cells.
        width: how many cells the header has.

    """
    empty = separator + " \t"
    for line in lines:
        number = lines.number
        if not line.strip(empty):
            continue
        if "\0" in line:
            yield Record(number, "", 0, "has a NUL: the file is damaged here, or is no text")
        elif '"' in line:
            yield _quoted(lines, line, separator, width)
        else:
            cells = line.count(separator) + 1
            if cells > width:
                yield _too_wide(number, line.split(separator), separator, width)
            else:
                yield Record(number, line, cells)


def cells_of(text: str, separator: str) -> list[str]:
    """Return the cells of a row.

    Raises:
        csv.Error: it is not CSV.

    """
    return next(csv.reader(text.splitlines(keepends=True), delimiter=separator, skipinitialspace=True, strict=True))


def _quoted(lines: Lines, line: str, separator: str, width: int) -> Record:
    """Read a row with quotes; if that fails, only its first line is lost."""
    number, taken = lines.number, []
    quotes = line.count('"')
    for each in islice(lines, MAX_ROW_LINES if quotes % 2 else 0):
        taken.append(each)
        quotes += each.count('"')
        if not quotes % 2:
            break
    text = "\n".join([line, *taken])
    cells, why = _strictly(text, separator) if not quotes % 2 else ([], "a quote is opened and not closed")
    if why is not None:
        lines.put_back(taken)
        return Record(number, "", 0, f"is not CSV: {why}")
    return Record(number, text, len(cells)) if len(cells) <= width else _too_wide(number, cells, separator, width)


def _strictly(text: str, separator: str) -> tuple[list[str], str | None]:
    """Return the cells of a row, or why it is not CSV."""
    try:
        return cells_of(text, separator), None
    except csv.Error as error:
        return [], str(error)


def _too_wide(number: int, cells: list[str], separator: str, width: int) -> Record:
    if any(cell.strip() for cell in cells[width:]):
        return Record(number, "", len(cells), f"has {len(cells)} cells, the header {width}")
    quoted = ('"' + cell.replace('"', '""') + '"' for cell in cells[:width])
    return Record(number, separator.join(quoted), width)
