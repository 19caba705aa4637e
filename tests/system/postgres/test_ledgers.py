"""Dead letters and first-seen times in PostgreSQL: as those in files, and they move with their partition."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from normalizer_worker.ledger import partition_first_seen
from normalizer_worker.ledger.dead_letter import MAX_PAYLOAD_BYTES, DeadLetter
from normalizer_worker.ledger.dead_letters import LETTER_BYTES, row_of
from normalizer_worker.ledger.first_seen import DELETED_BESIDES, KEPT_US, Seen
from normalizer_worker.ledger.partition_first_seen import PartitionFirstSeen
from normalizer_worker.ledger.partition_letters import AT_ONCE, AllLetters, Bounds, PartitionLetters
from power_cli.__main__ import main
from shared.domain.errors import InvalidInput, Problem
from shared.domain.timestamps import US_PER_S
from shared.store.postgres.store import PostgresStore
from tests.support.first_seen import NamesContract, Reopen
from tests.support.postgres import Postgres

BAD = InvalidInput("the batch is not valid", (Problem("data[0].value", "is missing"),))
DAY_US = 86_400 * US_PER_S


@pytest.fixture
def store(postgres: Postgres) -> Iterator[PostgresStore]:
    with closing(PostgresStore(postgres.emptied())) as store:
        store.check_writing()
        yield store


def letter(payload: bytes, now_us: int = 5, topic: str = "ships/1/readings") -> DeadLetter:
    return DeadLetter.of(topic, payload, BAD, now_us)


def moments(store: PostgresStore) -> list[int]:
    return [each.last_us for each in AllLetters(store).newest(1000)]


# --- dead letters


@pytest.mark.parametrize("said", ["the batch is not valid", "a \0 character"])
def test_everything_about_a_letter_is_kept(store: PostgresStore, said: str) -> None:
    error = InvalidInput(said, (Problem(f"data[{said}]", said),))
    kept = DeadLetter.of("ships/1/readings", b"\x00\xff{", error, 5)
    PartitionLetters(store.partition(7)).keep([kept])
    (found,) = AllLetters(store).all()
    assert (found.payload, found.problems, found.digest) == (kept.payload, kept.problems, kept.digest)
    assert found.reason == said.replace("\0", "\ufffd")


def test_the_next_owner_counts_on(store: PostgresStore) -> None:
    for now_us in (5, 9):
        PartitionLetters(store.partition(7)).keep([letter(b"a", now_us)])
    PartitionLetters(store.partition(8)).keep([letter(b"a", 7, "ships/2/readings")])
    assert [(each.topic, each.first_us, each.last_us, each.times) for each in AllLetters(store).all()] == [
        ("ships/1/readings", 5, 9, 2),
        ("ships/2/readings", 7, 7, 1),
    ]


def test_all_letters_are_listed_however_many(store: PostgresStore) -> None:
    """Many of the same moment, too."""
    letters = PartitionLetters(store.partition(7))
    letters.keep([letter(b"%d" % each, each // 70) for each in range(2 * AT_ONCE + 1)])
    found = list(AllLetters(store).all())
    assert {each.payload for each in found} == {b"%d" % each for each in range(2 * AT_ONCE + 1)}
    assert [each.last_us for each in found] == sorted((each.last_us for each in found), reverse=True)
    assert AllLetters(store).count() == len(found)


def test_a_letter_is_found_by_its_digest_and_removed_unless_it_came_again(store: PostgresStore) -> None:
    letters, every = PartitionLetters(store.partition(7)), AllLetters(store)
    letters.keep([letter(each) for each in (b"a", b"b")])
    (first,) = [each for each in every.all() if each.payload == b"a"]
    assert list(every.between(first.digest, first.digest)) == [first]
    assert len(list(every.between(bytes(32), b"\xff" * 32))) == 2
    letters.keep([letter(b"a", 6)])
    assert not every.remove(first)
    (again,) = every.between(first.digest, first.digest)
    assert every.remove(again)
    assert [each.payload for each in every.all()] == [b"b"]


def test_of_a_long_payload_the_beginning_is_kept_and_its_length(store: PostgresStore) -> None:
    long = b"x" * (MAX_PAYLOAD_BYTES + 1)
    PartitionLetters(store.partition(7)).keep([letter(long), letter(long[:-1]), letter(long, 9)])
    whole, cut = sorted(AllLetters(store).all(), key=lambda each: each.is_cut)
    assert (cut.payload, cut.payload_bytes, cut.times) == (long[:-1], len(long), 2)
    assert (whole.payload, whole.is_cut) == (long[:-1], False)
    assert [each.payload for each in AllLetters(store).newest(9)] == [b"", b""]


@pytest.mark.parametrize("other", ["ships/2/readings", "ships/x/readings"])
def test_a_ship_has_so_many_letters_and_its_oldest_go_first(store: PostgresStore, other: str) -> None:
    letters = PartitionLetters(store.partition(7), Bounds(letters_of_ship=3))
    assert letters.keep([letter(b"%d" % each, each, other) for each in (1, 2, 3)]) == 0
    assert letters.keep([letter(b"%d" % each, each) for each in (14, 11, 12, 13, 15)]) == 2
    assert moments(store) == [15, 14, 13, 3, 2, 1]
    assert letters.keep([letter(b"13", 16)]) == 0, "it is there already, and is now the newest"
    assert letters.keep([letter(b"17", 17)]) == 1
    assert moments(store) == [17, 16, 15, 3, 2, 1]
    topics = "ships/y/readings", "ships/z/readings"
    assert letters.keep([letter(b"", 20 + i, topic) for i, topic in enumerate(topics)]) == 2 * ("x" in other)


def test_letters_take_so_many_bytes_of_a_ship_and_of_a_partition(store: PostgresStore) -> None:
    """Topics, reasons and faults count, too: a stranger chooses them. Another partition has room of its own."""
    size = row_of(letter(b"1" * 1800))[-1]
    assert size > LETTER_BYTES + 1800
    PartitionLetters(store.partition(8)).keep([letter(b"other", 1)])
    bounds = Bounds(bytes_of_ship=3 * size, bytes_of_partition=5 * size)
    partition = store.partition(7)
    for each in range(20):
        # The whole is checked now and then, and at the start.
        PartitionLetters(partition, bounds).keep([letter(bytes([each]) * 1800, each, f"ships/{each % 4}/readings")])
    assert moments(store) == [19, 18, 17, 16, 15, 1]
    PartitionLetters(partition, bounds).keep([letter(bytes([each]) * 1800, each) for each in range(30, 34)])
    assert moments(store)[:4] == [33, 32, 31, 19], "by the ship's"


def test_the_command_lists_and_shows_those_of_a_cluster(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.emptied()
    with closing(PostgresStore(url)) as store:
        for number in (7, 8):
            PartitionLetters(store.partition(number)).keep(
                [letter(b"of %d" % number, topic=f"ships/{number}/readings")]
            )
    monkeypatch.setenv("POWER_STORE_URL", url)
    assert main(["dead-letters", "--data", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert "ships/7/readings" in listed
    assert "2 dead letters" in listed
    name = next(line for line in listed.splitlines() if "ships/8/" in line).split()[1]
    assert main(["dead-letters", "--data", str(tmp_path), "show", name]) == 0
    assert "of 8" in capsys.readouterr().out


# --- first-seen times


class Clock:
    now_us = 5 * DAY_US

    def __call__(self) -> int:
        return self.now_us


def kept(store: PostgresStore) -> int:
    return int(store.read("SELECT count(*) FROM first_seen")[0][0])


class TestPartitionFirstSeen(NamesContract):
    """The contract, in PostgreSQL, for one owner after the other."""

    @pytest.fixture
    def reopen(self, store: PostgresStore) -> Reopen:
        """Take the partition over."""
        return lambda: PartitionFirstSeen(store.partition(7))


def test_no_ship_is_in_two_partitions(store: PostgresStore) -> None:
    for number in (7, 8):
        assert PartitionFirstSeen(store.partition(number)).first([Seen(b"a", number, b"%d" % number)]) == [number]


def test_a_batch_id_may_have_other_content_once_it_is_forgotten(store: PostgresStore) -> None:
    clock = Clock()
    first_seen = PartitionFirstSeen(store.partition(7), clock)
    first_seen.first([Seen(b"a", 1, b"one")])
    clock.now_us += DAY_US
    assert first_seen.first([Seen(b"a", 2, b"two")]) == [None]
    clock.now_us += KEPT_US
    first_seen.first([Seen(b"b", 3)])
    assert first_seen.first([Seen(b"a", 4, b"two")]) == [4]


def test_keys_are_looked_up_in_their_index(postgres: Postgres) -> None:
    """Also while the server knows nothing of the table: comparing each row with each key took seconds for a load."""
    statement = partition_first_seen._FIRST.replace("%s", "$1", 1).replace("%s", "$2", 1)
    with closing(PostgresStore(url := postgres.create())) as store:
        store.check_writing()
        PartitionFirstSeen(store.partition(7)).first([Seen(b"%d" % i, i) for i in range(5000)])
    with psycopg.connect(url) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute(f"PREPARE lookup AS {statement}")
        plan = connection.execute("EXPLAIN EXECUTE lookup ('{}', 7)").fetchall()
    assert "first_seen_pkey" in str(plan)


def test_it_is_remembered_for_more_than_a_day_and_then_forgotten(store: PostgresStore) -> None:
    clock = Clock()
    first_seen = PartitionFirstSeen(store.partition(7), clock)
    first_seen.first([Seen(b"a", 1)])
    clock.now_us += DAY_US
    assert first_seen.first([Seen(b"a", 2)]) == [1]
    clock.now_us += KEPT_US
    first_seen.first([Seen(b"b", 3)])
    assert kept(store) == 1
    assert first_seen.first([Seen(b"a", 4)]) == [4]


def test_what_has_grown_shrinks_as_fast(store: PostgresStore) -> None:
    clock = Clock()
    first_seen = PartitionFirstSeen(store.partition(7), clock)
    first_seen.first([Seen(b"%d" % i, i) for i in range(1000)])
    clock.now_us += KEPT_US + 1
    first_seen.first([Seen(b"new", 1)])
    assert kept(store) == 1000 - DELETED_BESIDES
    for i in range(9):
        first_seen.first([Seen(b"new %d" % i, 1)])
    assert kept(store) == 10
