"""Dead letters are kept whole, once, and in order."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from normalizer_worker.ledger.dead_letter import MAX_PAYLOAD_BYTES, DeadLetter
from normalizer_worker.ledger.dead_letters import (
    _NEWEST,
    FILE_NAME,
    LETTER_BYTES,
    OLD_AT_ONCE,
    Bounds,
    DeadLetters,
    row_of,
)
from shared.domain.errors import InvalidInput, Problem, Unavailable

BAD = InvalidInput("the batch is not valid", (Problem("data[0].value", "is missing"),))


def test_everything_about_a_letter_is_kept(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    letter = DeadLetter.of("ships/1/readings", b"\x00\xff{", BAD, 5)
    letters.keep([letter])
    letters.close()
    again = DeadLetters(tmp_path)
    assert list(again.all()) == [letter]
    again.close()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (BAD, "the batch is not valid: data[0].value is missing"),
        (InvalidInput("Invalid JSON"), "Invalid JSON"),
        (InvalidInput("the topic names no ship", (Problem("topic", "names no ship"),)), "the topic names no ship"),
    ],
)
def test_why_it_is_dead_is_said_once(error: InvalidInput, why: str) -> None:
    assert DeadLetter.of("ships/1/readings", b"", error, 5).why(3) == why


def test_the_same_message_again_is_counted(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    for now_us in (5, 9):
        letters.keep([DeadLetter.of("ships/1/readings", b"a", BAD, now_us)])
    letters.keep([DeadLetter.of("ships/2/readings", b"a", BAD, 7)])
    assert [(each.topic, each.first_us, each.last_us, each.times) for each in letters.all()] == [
        ("ships/1/readings", 5, 9, 2),
        ("ships/2/readings", 7, 7, 1),
    ]
    letters.close()


def test_a_letter_is_found_by_its_digest_and_removed_unless_it_came_again(tmp_path: Path) -> None:
    """One that is sent again and comes back before it is removed must not be lost."""
    letters = DeadLetters(tmp_path)
    letters.keep([DeadLetter.of("ships/1/readings", each, BAD, 5) for each in (b"a", b"b")])
    (letter,) = [each for each in letters.all() if each.payload == b"a"]
    assert list(letters.between(letter.digest, letter.digest)) == [letter]
    assert len(list(letters.between(bytes(32), b"\xff" * 32))) == 2
    letters.keep([DeadLetter.of("ships/1/readings", b"a", BAD, 6)])
    assert not letters.remove(letter)
    (again,) = letters.between(letter.digest, letter.digest)
    assert letters.remove(again)
    assert [each.payload for each in letters.all()] == [b"b"]
    letters.close()


def test_a_file_in_use_makes_it_unavailable(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    letters._file.connection().execute("PRAGMA busy_timeout=50")
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        letters.keep([DeadLetter.of("ships/1/readings", b"a", BAD, 5)])
    other.close()
    letters.close()


def letter(payload: bytes, now_us: int = 5, topic: str = "ships/1/readings") -> DeadLetter:
    return DeadLetter.of(topic, payload, BAD, now_us)


def moments(letters: DeadLetters) -> list[int]:
    return [each.last_us for each in letters.newest(1000)]


def test_of_a_long_payload_the_beginning_is_kept_and_its_length(tmp_path: Path) -> None:
    long = b"x" * (MAX_PAYLOAD_BYTES + 1)
    with closing(DeadLetters(tmp_path)) as letters:
        letters.keep([letter(long), letter(long[:-1]), letter(long, 9)])
        whole, cut = sorted(letters.all(), key=lambda each: each.is_cut)
        assert (cut.payload, cut.payload_bytes, cut.times) == (long[:-1], len(long), 2)
        assert (whole.payload, whole.is_cut) == (long[:-1], False)
        assert sorted(each.payload_bytes for each in letters.newest(9)) == [len(long) - 1, len(long)]
        assert letters.remove(cut)
        assert letters.count() == 1


@pytest.mark.parametrize("other", ["ships/2/readings", "ships/x/readings"])
def test_a_ship_has_so_many_letters_and_its_oldest_go_first(tmp_path: Path, other: str) -> None:
    """And those of topics without a ship have so many together."""
    with closing(DeadLetters(tmp_path, Bounds(letters_of_ship=3))) as letters:
        assert letters.keep([letter(b"%d" % each, each, other) for each in (1, 2, 3)]) == 0
        assert letters.keep([letter(b"%d" % each, each) for each in (14, 11, 12, 13, 15)]) == 2
        assert moments(letters) == [15, 14, 13, 3, 2, 1]
        assert letters.keep([letter(b"13", 16)]) == 0, "it is there already, and is now the newest"
        assert letters.keep([letter(b"17", 17)]) == 1
        assert moments(letters) == [17, 16, 15, 3, 2, 1]
        assert letters.count() == 6
        topics = "ships/y/readings", "ships/z/readings"
        assert letters.keep([letter(b"", 20 + i, topic) for i, topic in enumerate(topics)]) == 2 * ("x" in other)


def test_letters_take_so_many_bytes_of_a_ship_and_of_all(tmp_path: Path) -> None:
    """Topics, reasons and faults count, too: a stranger chooses them."""
    size = row_of(letter(b"1" * 1800))[-1]
    assert size > LETTER_BYTES + 1800
    with closing(DeadLetters(tmp_path, Bounds(bytes_of_ship=3 * size, bytes_of_all=5 * size))) as letters:
        for each in range(20):
            letters.keep([letter(bytes([each]) * 1800, each, f"ships/{each % 4}/readings") for each in (each, each)])
        assert moments(letters) == [19, 18, 17, 16, 15]
        letters.keep([letter(b"", 20, "x" * size)])
        assert moments(letters) == [20, 19, 18, 17], "by the total"
        letters.keep([letter(bytes([each]) * 1800, each) for each in range(30, 34)])
        assert moments(letters)[:4] == [33, 32, 31, 20], "by the ship's"


FIRST_VERSION = """
CREATE TABLE dead_letters (
    digest BLOB PRIMARY KEY,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    reason TEXT NOT NULL,
    problems TEXT NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    times INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_letters_by_last ON dead_letters (last_us DESC, digest);
PRAGMA user_version = 1;
"""


def test_letters_of_an_older_version_are_brought_forward_a_few_at_a_time(tmp_path: Path) -> None:
    """Within the bounds; and those that come meanwhile are added up with them."""
    old = [letter(b"%d" % each * 40_000, each) for each in range(2, 2 * OLD_AT_ONCE + 50)]
    again = old[7].payload[:1] * 10
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        file.executescript(FIRST_VERSION)
        rows = [
            (each.digest, each.topic, b"%d" % each.first_us * 40_000, each.reason, "[]", 1, each.last_us, 3)
            for each in [*old, letter(again, 1)]
        ]
        file.executemany("INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        file.commit()
    with closing(DeadLetters(tmp_path, Bounds(letters_of_ship=100))) as letters:
        letters.keep([letter(again, 1000)])
        letters.tidy()
        assert letters.has_old
    with closing(DeadLetters(tmp_path, Bounds(letters_of_ship=100))) as letters:
        while letters.has_old:
            letters.tidy()
        assert moments(letters) == [1000, *range(2 * OLD_AT_ONCE + 49, 2 * OLD_AT_ONCE - 50, -1)]
        first = next(letters.all())
        assert (first.first_us, first.times) == (1, 4)
        assert {each.is_cut for each in letters.all()} == {False, True}
        assert max(len(each.payload) for each in letters.all()) == MAX_PAYLOAD_BYTES


def test_the_newest_are_found_by_an_index(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    letters.keep([DeadLetter.of("ships/1/readings", bytes([each]), BAD, each) for each in range(5)])
    assert [each.last_us for each in letters.newest(3)] == [4, 3, 2]
    assert letters.count() == 5
    letters.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        plan = " ".join(row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {_NEWEST}", (3,)))
    assert "letters_by_last" in plan
    assert "TEMP B-TREE" not in plan
