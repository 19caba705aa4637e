"""When a batch came first: remembered over restarts, for ship, batch and content together, and not for ever."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from normalizer_worker.ledger.first_seen import (
    DELETED_BESIDES,
    FILE_NAME,
    KEPT_US,
    FirstSeenTimes,
    Seen,
    first_seen_key,
    name_key,
)
from shared.domain.errors import Unavailable
from shared.domain.timestamps import US_PER_S
from tests.support.first_seen import FirstSeenContract, Reopen

ONE, OTHER = UUID(int=1), UUID(int=2)
DAY_US = 86_400 * US_PER_S


class Clock:
    now_us = 5 * DAY_US

    def __call__(self) -> int:
        return self.now_us


def rows(folder: Path) -> int:
    connection = sqlite3.connect(folder / FILE_NAME)
    (count,) = connection.execute("SELECT count(*) FROM arrivals").fetchone()
    connection.close()
    return int(count)


class TestFirstSeenTimes(FirstSeenContract):
    """The contract, on files."""

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Iterator[Reopen]:
        """Open the file, and close what was opened before."""
        opened: list[FirstSeenTimes] = []

        def reopen() -> FirstSeenTimes:
            for each in opened:
                each.close()
            opened[:] = [FirstSeenTimes(tmp_path)]
            return opened[0]

        yield reopen
        for each in opened:
            each.close()


def test_another_ship_batch_or_content_is_another_arrival() -> None:
    keys = [
        first_seen_key(*of)
        for of in [(1, ONE, b"a"), (2, ONE, b"a"), (1, OTHER, b"a"), (1, ONE, b"b"), (1, ONE, b""), (11, ONE, b"")]
    ]
    assert len(set(keys)) == len(keys)
    assert first_seen_key(1, ONE, b"a") == keys[0]


def test_the_key_of_a_name_is_that_of_ship_and_batch_id() -> None:
    """Whatever the content is; and none is a key that covers the content."""
    keys = [name_key(*of) for of in [(1, ONE), (2, ONE), (1, OTHER), (2**53 - 1, OTHER)]]
    assert len({*keys, first_seen_key(1, ONE, b"")}) == len(keys) + 1
    assert name_key(1, ONE) == keys[0]


def test_it_is_remembered_for_more_than_a_day_and_then_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    first_seen = FirstSeenTimes(tmp_path, clock)
    first_seen.first([Seen(b"a", 1)])
    clock.now_us += DAY_US
    assert first_seen.first([Seen(b"a", 2)]) == [1]
    clock.now_us += KEPT_US
    first_seen.first([Seen(b"b", 3)])
    assert rows(tmp_path) == 1
    assert first_seen.first([Seen(b"a", 4)]) == [4]
    first_seen.close()


def test_a_file_that_has_grown_shrinks_as_fast(tmp_path: Path) -> None:
    """A little with every load: none of them pays for a whole day."""
    clock = Clock()
    first_seen = FirstSeenTimes(tmp_path, clock)
    first_seen.first([Seen(b"%d" % i, i) for i in range(1000)])
    clock.now_us += KEPT_US + 1
    first_seen.first([Seen(b"new", 1)])
    assert rows(tmp_path) == 1000 - DELETED_BESIDES
    for i in range(9):
        first_seen.first([Seen(b"new %d" % i, 1)])
    assert rows(tmp_path) == 10
    first_seen.close()


def test_a_file_in_use_makes_it_unavailable_and_remembers_nothing(tmp_path: Path) -> None:
    first_seen = FirstSeenTimes(tmp_path)
    first_seen._file.connection().execute("PRAGMA busy_timeout=50")
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        first_seen.first([Seen(b"a", 1)])
    other.close()
    assert rows(tmp_path) == 0
    first_seen.close()
