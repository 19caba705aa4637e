"""Puts columns into a table of SQLite, many rows with one statement."""

import re
import sqlite3
from functools import cache
from typing import Any

from numpy.typing import NDArray

from shared.domain.columns import rows

TOGETHER = 64
"""So many rows take less than two thirds of the time that they take one by one; more rows gain nothing."""
_ROW = re.compile(r"\(\?(, \?)*\)")


def put(connection: sqlite3.Connection, statement: str, *columns: NDArray[Any]) -> None:
    """Run an ``INSERT`` of one row, ``(?, ?)``, for each row of the columns, in their order."""
    width, count = len(columns), len(columns[0])
    together = count - count % TOGETHER
    if together:
        flat: list[Any] = [None] * (together * width)
        for at, column in enumerate(columns):
            flat[at::width] = column[:together].tolist()
        size = TOGETHER * width
        for start in range(0, len(flat), size):
            connection.execute(_of_many(statement), flat[start : start + size])
    connection.executemany(statement, rows(*(column[together:] for column in columns)))


@cache
def _of_many(statement: str) -> str:
    return _ROW.sub(lambda row: ", ".join([row[0]] * TOGETHER), statement)
