"""Rows that are put many at a time are those that are put one by one, in the same order."""

import sqlite3

import numpy as np
import pytest

from shared.store.sqlite_put import TOGETHER, put

TABLE = "CREATE TABLE sums (key INTEGER PRIMARY KEY, total INTEGER NOT NULL, last REAL NOT NULL, name TEXT NOT NULL)"
ADD = """
INSERT INTO sums (key, total, last, name) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET total = total + excluded.total, last = excluded.last, name = excluded.name
"""


@pytest.mark.parametrize("count", [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1, 5 * TOGETHER, 5 * TOGETHER + 7])
def test_many_rows_together(count: int) -> None:
    """Some keys come several times, within 64 rows and across them: sums and last values are those of the order."""
    number = np.arange(count)
    columns = number % 50, number, number / 3, np.array(["odd", "even"])[number % 2]
    together, alone = (sqlite3.connect(":memory:") for _ in range(2))
    for connection in (together, alone):
        connection.execute(TABLE)
    put(together, ADD, *columns)
    alone.executemany(ADD, zip(*(column.tolist() for column in columns), strict=True))
    found, expected = (each.execute("SELECT * FROM sums ORDER BY key").fetchall() for each in (together, alone))
    assert found == expected
    assert len(found) == min(count, 50)
