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
_NOT_CLOSED = "a quote is opened and not closed"


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
                yield _wide(number, line.split(separator), separator, width)
            else:
                yield Record(number, line, cells)


def cells_of(text: str, separator: str) -> list[str]:
    """Return the cells of a line.

    Raises:
        csv.Error: it is not CSV.

    """
    return next(csv.reader([text], delimiter=separator, skipinitialspace=True, strict=True))


def _quoted(lines: Lines, line: str, separator: str, width: int) -> Record:
    """Read a row with quotes, which may have several lines; if that fails, only its first line is lost."""
    number, taken = lines.number, []

    def following() -> Iterator[str]:
        yield f"{line}\n"
        for each in islice(lines, MAX_ROW_LINES):
            taken.append(each)
            yield f"{each}\n"

    try:
        cells = next(csv.reader(following(), delimiter=separator, skipinitialspace=True, strict=True))
    except csv.Error as error:
        lines.put_back(taken)
        why = str(error)
        return Record(number, "", 0, f"is not CSV: {_NOT_CLOSED if why == 'unexpected end of data' else why}")
    return _wide(number, cells, separator, width)


def _wide(number: int, cells: list[str], separator: str, width: int) -> Record:
    """Return a row whose cells are known, quoted as pandas reads them alike."""
    if any(cell.strip() for cell in cells[width:]):
        return Record(number, "", len(cells), f"has {len(cells)} cells, the header {width}")
    quoted = ('"' + cell.replace('"', '""') + '"' for cell in cells[:width])
    return Record(number, separator.join(quoted), min(len(cells), width))
