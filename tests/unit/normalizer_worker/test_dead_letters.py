"""Dead letters are kept whole, once, and in order."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from normalizer_worker.dead_letters import _NEWEST, FILE_NAME, DeadLetter, DeadLetters
from shared.errors import InvalidInput, Problem, Unavailable

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


def test_the_newest_are_found_by_an_index_in_older_files_too(tmp_path: Path) -> None:
    DeadLetters(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        file.execute("DROP INDEX dead_letters_by_last")  # as files of the first versions are
    letters = DeadLetters(tmp_path)
    letters.keep([DeadLetter.of("ships/1/readings", bytes([each]), BAD, each) for each in range(5)])
    assert [each.last_us for each in letters.newest(3)] == [4, 3, 2]
    assert letters.count() == 5
    letters.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as file:
        plan = " ".join(row[3] for row in file.execute(f"EXPLAIN QUERY PLAN {_NEWEST}", (3,)))
    assert "dead_letters_by_last" in plan
    assert "TEMP B-TREE" not in plan
