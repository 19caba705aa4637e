"""Finds the separator and the header of a CSV, and what stands before it."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from power_cli.importing.names import is_when, same, words
from power_cli.importing.numbers import MISSING
from power_cli.importing.records import Lines, cells_of
from power_cli.importing.stamps import DATE, NUMBER, STAMP
from power_cli.importing.units import UNIT_NAMES
from power_cli.importing.wanted import Wanted, listed, shown
from shared.domain.errors import InvalidInput

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MAX_COLUMNS = 2000
HEAD_LINES = 100
"""The header is one of the first lines."""
_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_VALUE = re.compile(r"[+-]?[\d.,]*\d(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the cells are laid out.

    Attributes:
        separator: between cells.
        line: of the header.
        header: the names of the columns.
        unit: the unit that a line before the header names, if one does.

    """

    separator: str
    line: int
    header: tuple[str, ...]
    unit: str | None = None


def find_layout(lines: Lines, wanted: Wanted) -> Layout:
    """Find the header, and leave the lines behind it in `lines`.

    Raises:
        InvalidInput: there is none.

    """
    head = list(islice(lines, HEAD_LINES))
    stated = _SEP.fullmatch(head[0].strip()) if head else None
    tables = {
        separator: [_split(line, separator) for line in head] for separator in ((stated[1],) if stated else SEPARATORS)
    }
    for find in (_by_name, _by_content):
        found = [(separator, at) for separator, rows in tables.items() if (at := find(rows, wanted)) is not None]
        if found:
            # Of several with as many columns the first.
            separator, at = max(found, key=lambda each: len(tables[each[0]][each[1]]))
            lines.put_back(head[at + 1 :])
            rows = tables[separator]
            if len(rows[at]) > MAX_COLUMNS:
                raise InvalidInput(f"line {at + 1} has {len(rows[at]):,} columns; {MAX_COLUMNS:,} are taken")
            return Layout(separator, at + 1, tuple(rows[at]), _unit_before(rows[:at]))
    raise InvalidInput(_nothing_found(head, wanted))


def _nothing_found(head: list[str], wanted: Wanted) -> str:
    filled = [line for line in head if line.strip()]
    if not filled:
        return "there are no rows: the file is empty"
    first = f"the first lines are {listed([shown(line) for line in filled], 3)}"
    if wanted.time_column is not None:
        names = next((cells for separator in SEPARATORS if len(cells := _split(filled[0], separator)) > 1), filled[:1])
        return f"there is no column {wanted.time_column!r}; choose with --time-column from: {listed_names(names)}"
    return f"which line is the header? Name the column of the timestamps with --time-column; {first}"


def listed_names(names: list[str] | tuple[str, ...]) -> str:
    """Return the names of columns for a message."""
    return listed([shown(name.strip()) for name in names if name.strip()], 50) or "there are no columns"


def _split(line: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in cells_of(line, separator)] if line else []
    except (csv.Error, StopIteration):
        return [cell.strip() for cell in line.split(separator)]


def _by_name(rows: list[list[str]], wanted: Wanted) -> int | None:
    """Find the first row with the name of a column of timestamps, and without timestamps."""
    for at, row in enumerate(rows):
        if wanted.time_column is not None:
            is_header = any(same(cell, wanted.time_column) for cell in row)
        else:
            is_header = any(map(is_when, row)) and not any(map(_is_moment, row))
        if is_header:
            return at
    return None


def _by_content(rows: list[list[str]], wanted: Wanted) -> int | None:
    """Find the row above the first reading: a timestamp and a value, and the next row has its timestamp there, too."""
    if wanted.time_column is not None:
        return None
    filled = [(at, row) for at, row in enumerate(rows) if any(row)]
    for place, (_, row) in enumerate(filled):
        following = filled[place + 1][1] if place + 1 < len(filled) else row
        is_dated = any(_is_moment(following[column]) for column in _moments(row) if column < len(following))
        if is_dated and any(map(_is_value, row)):
            if place == 0 or len(filled[place - 1][1]) < 2:  # noqa: PLR2004  # a header has two columns
                raise InvalidInput(
                    f"there is no header: line {filled[place][0] + 1} is a reading already;"
                    " put a line such as datetime,kW above it"
                )
            return filled[place - 1][0]
    return None


def _moments(row: list[str]) -> Iterator[int]:
    yield from (column for column, cell in enumerate(row) if _is_moment(cell))


def _is_moment(cell: str) -> bool:
    return any(shape.fullmatch(cell) for shape in (STAMP, DATE, NUMBER))


def _is_value(cell: str) -> bool:
    is_number = _VALUE.fullmatch(cell) is not None and not _is_moment(cell)
    return is_number or (bool(cell) and cell.casefold() in MISSING)


def _unit_before(rows: list[list[str]]) -> str | None:
    for row in rows:
        if len(row) > 1 and words(row[0]) in UNIT_NAMES:
            return row[1]
    return None
