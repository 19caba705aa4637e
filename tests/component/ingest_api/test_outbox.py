"""The outbox: accepted is durable, and stays until a worker has spoken."""

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from uuid import uuid4

import pytest

from ingest_api.outbox.batch_status import DELETED_BESIDES, KEPT_US
from ingest_api.outbox.entry import ENTRY_BYTES
from ingest_api.outbox.outbox import Outbox
from shared.contract.status import BatchStatus
from shared.domain.errors import Conflict, InvalidSettings, Problem, Unavailable
from shared.runtime.sqlite_files import SqliteFile
from tests.support.outbox import ROOM, SHIP, an_outbox, decide, entry, held
from tests.support.waiting import until

START_US = 1_700_000_000_000_000


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.us = START_US

    def now_us(self) -> int:
        return self.us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outbox(tmp_path: Path, clock: Clock) -> Iterator[Outbox]:
    with an_outbox(tmp_path, now_us=clock.now_us) as outbox:
        yield outbox


def names(outbox: Outbox) -> list[str]:
    return [each.batch_id for each in outbox.waiting(0, 10_000, 1 << 30)]


def test_what_is_accepted_is_there_after_it_was_opened_again(tmp_path: Path) -> None:
    """With its size, its order and its status."""
    first, second = entry(payload=b"1"), entry(payload=b"22", ship=8)
    with an_outbox(tmp_path) as outbox:
        assert outbox.accept(first) == (BatchStatus(first.batch_id, SHIP, 3, "accepted"), True)
        outbox.accept(second)
    with an_outbox(tmp_path) as outbox:
        assert [(each.ship, each.payload, each.digest) for each in outbox.waiting(0, 10, 100)] == [
            (SHIP, b"1", first.digest),
            (8, b"22", second.digest),
        ]
        assert (outbox.depth, outbox.size_bytes) == (2, 3 + 2 * ENTRY_BYTES)
        assert outbox.status(second.batch_id) == BatchStatus(second.batch_id, 8, 3, "accepted")


def test_every_commit_reaches_the_disk(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pragma synchronous=FULL, on the connection that writes."""
    found: list[int] = []
    put = outbox._entries._insert

    def looking(connection, *made):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN202
        found.append(connection.execute("PRAGMA synchronous").fetchone()[0])
        found.append(connection.execute("PRAGMA journal_mode").fetchone()[0])
        return put(connection, *made)

    monkeypatch.setattr(outbox._entries, "_insert", looking)
    outbox.accept(entry())
    assert found == [2, "wal"]


def test_requests_at_a_time_share_a_commit(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one commits, the others gather."""
    transaction, commits = SqliteFile.transaction, list[int]()

    def counted(file: SqliteFile) -> AbstractContextManager[sqlite3.Connection]:
        commits.append(1)
        return transaction(file)

    monkeypatch.setattr(SqliteFile, "transaction", counted)
    with ThreadPoolExecutor(32) as senders:
        with held(outbox):
            answers = [senders.submit(outbox.accept, entry()) for _ in range(32)]
            until(lambda: outbox._queue._items.qsize() == 32, "all of them wait")
        assert all(each.result(20)[1] for each in answers)
    assert len(commits) == 2
    assert outbox.depth == 32


def test_a_repeat_is_not_kept_twice_and_tells_what_became_of_it(outbox: Outbox) -> None:
    made = entry()
    outbox.accept(made)
    assert outbox.accept(made) == (BatchStatus(made.batch_id, SHIP, 3, "accepted"), False)
    assert outbox.depth == 1
    decide(outbox, made)
    assert outbox.accept(made) == (BatchStatus(made.batch_id, SHIP, 3, "stored"), False)
    assert (outbox.depth, outbox.size_bytes) == (0, 0)


@pytest.mark.parametrize("is_stored", [False, True])
def test_another_batch_of_that_name_is_a_conflict(outbox: Outbox, is_stored: bool) -> None:  # noqa: FBT001  # a case
    made = entry(content="this")
    outbox.accept(made)
    if is_stored:
        decide(outbox, made)
    for other in (entry(made.batch_id, content="that"), entry(made.batch_id, content="this", ship=8)):
        with pytest.raises(Conflict, match=str(made.batch_id)):
            outbox.accept(other)
    assert outbox.depth == (not is_stored)


def test_one_name_for_two_batches_at_once_is_a_conflict_for_one(outbox: Outbox) -> None:
    def accept(content: str) -> bool:
        try:
            return outbox.accept(entry(name, content=content))[1]
        except Conflict:
            return False

    name = uuid4()
    with ThreadPoolExecutor(16) as senders:
        assert sorted(senders.map(accept, map(str, range(16)))) == [False] * 15 + [True]
    assert (outbox.depth, len(names(outbox))) == (1, 1)


def test_a_receipt_for_other_content_removes_nothing(outbox: Outbox) -> None:
    made = entry(content="this")
    outbox.accept(made)
    outbox.decide(made.key, b"that", "rejected", (), lambda: pytest.fail("it is not done with"))
    decide(outbox, entry())  # which comes after it
    assert outbox.status(made.batch_id) == BatchStatus(made.batch_id, SHIP, 3, "accepted")
    assert names(outbox) == [str(made.batch_id)]


def test_the_first_receipt_decides_the_status(outbox: Outbox) -> None:
    """A batch that is published again is stored again: a worker with other settings changes nothing any more."""
    made = entry()
    outbox.accept(made)
    decide(outbox, made)
    decide(outbox, made, "rejected")
    assert outbox.status(made.batch_id) == BatchStatus(made.batch_id, SHIP, 3, "stored")
    assert outbox.size_bytes == 0


def test_why_a_batch_was_rejected_is_kept(outbox: Outbox, tmp_path: Path) -> None:
    made, done = entry(), threading.Event()
    outbox.accept(made)
    problems = (Problem("data[0].value", "is odd"), Problem("units", "are \u2603"))
    outbox.decide(made.key, made.digest, "rejected", problems, done.set)
    assert done.wait(20)
    outbox.close()
    with an_outbox(tmp_path) as again:
        assert again.status(made.batch_id) == BatchStatus(made.batch_id, SHIP, 3, "rejected", problems)


def test_what_became_of_a_batch_is_known_for_two_days_from_then_on(outbox: Outbox, clock: Clock) -> None:
    """However long it had been waiting before."""
    made, waits = entry(), entry()
    outbox.accept(waits)
    outbox.accept(made)
    clock.us += 3 * KEPT_US
    decide(outbox, made)
    clock.us += KEPT_US
    outbox.accept(entry())
    assert outbox.status(made.batch_id) is not None
    clock.us += 1
    outbox.accept(entry())
    assert outbox.status(made.batch_id) is None
    assert outbox.status(waits.batch_id) == BatchStatus(waits.batch_id, SHIP, 3, "accepted"), "never while it waits"


def test_it_is_known_for_how_long_the_oldest_has_been_waiting(outbox: Outbox, clock: Clock) -> None:
    """Not the newest: what waits for a quarter of an hour is an alarm, however much comes behind it."""
    made = entry()
    outbox.accept(made)
    clock.us += 60_000_000
    outbox.accept(entry())
    assert outbox.oldest_s() == 60
    decide(outbox, made)
    assert outbox.oldest_s() == 0


def test_many_are_forgotten_little_by_little(outbox: Outbox, clock: Clock) -> None:
    """So that nobody waits for it."""
    made = [entry() for _ in range(2 * DELETED_BESIDES)]
    for each in made:
        outbox.accept(each)
        decide(outbox, each)
    clock.us += KEPT_US + 1
    outbox.accept(entry())
    known = sum(outbox.status(each.batch_id) is not None for each in made)
    assert len(made) - known == DELETED_BESIDES + 1, "more than come in"
    outbox.accept(entry())
    assert not any(outbox.status(each.batch_id) for each in made)


def test_the_bound_in_bytes_holds_however_many_come_at_once(tmp_path: Path) -> None:
    size = 1000 + ENTRY_BYTES
    with an_outbox(tmp_path, 10 * size) as outbox, ThreadPoolExecutor(32) as senders:
        made = [entry(payload=b"x" * 1000) for _ in range(100)]

        def accepts(i: int) -> bool:
            try:
                return outbox.accept(made[i])[1]
            except Unavailable:
                return False

        accepted = [made[i] for i, is_new in enumerate(senders.map(accepts, range(100))) if is_new]
        assert len(accepted) == 10
        assert outbox.size_bytes == 10 * size
        assert sorted(names(outbox)) == sorted(str(each.batch_id) for each in accepted)
        decide(outbox, accepted[0])
        assert outbox.accept(entry(payload=b"x" * 1000))[1], "there is room again"


def test_the_disk_has_to_have_room_for_all_that_is_written_with_a_commit(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Repeats count, though nothing is written of them; where there is no room they are told what became of theirs."""
    asked, answers = list[int](), [True, False, True]

    def has_disk_for(_file: object, _folder: object, size: int) -> bool:
        asked.append(size)
        return answers.pop(0)

    monkeypatch.setattr("ingest_api.outbox.writers.has_disk_for", has_disk_for)
    old, new, another = entry(payload=b"x" * 1000), entry(payload=b"x" * 1000), entry(payload=b"x" * 500)
    outbox.accept(old)
    with ThreadPoolExecutor(4) as senders:
        with held(outbox):
            sent = [senders.submit(outbox.accept, each) for each in (new, new, old, another)]
            until(lambda: outbox._queue._items.qsize() == 4, "all of them wait")
        for each in (sent[0], sent[1], sent[3]):
            with pytest.raises(Unavailable, match=r"disk of .* is full"):
                each.result(20)
        assert sent[2].result(20) == (old.accepted, False)
    assert names(outbox) == [str(old.batch_id)]
    assert (outbox.depth, outbox.size_bytes) == (1, old.size_bytes)
    assert outbox.accept(new) == (new.accepted, True)
    assert asked == [old.size_bytes, 2 * new.size_bytes + old.size_bytes + another.size_bytes, new.size_bytes]


def test_of_those_that_come_at_once_under_one_name_the_first_is_kept(outbox: Outbox) -> None:
    """The same again repeats it, other content is a conflict, and what comes with them is kept as ever."""
    made = entry(content="this")
    same, other = made, entry(made.batch_id, content="that", payload=b"another")
    besides = [entry() for _ in range(70)]
    with ThreadPoolExecutor(73) as senders:
        sent = list[Future[tuple[BatchStatus, bool]]]()
        with held(outbox):
            for each in (made, same, other, *besides):
                sent.append(senders.submit(outbox.accept, each))
                until(lambda: outbox._queue._items.qsize() == len(sent), "it waits")
        assert sent[0].result(20) == (made.accepted, True)
        assert sent[1].result(20) == (made.accepted, False)
        with pytest.raises(Conflict):
            sent[2].result(20)
        assert all(each.result(20)[1] for each in sent[3:])
    waiting = outbox.waiting(0, 1000, 1 << 30)
    assert [each.batch_id for each in waiting] == [str(each.batch_id) for each in (made, *besides)]
    assert [(each.digest, each.payload) for each in waiting] == [
        (each.digest, each.payload) for each in (made, *besides)
    ]
    assert outbox.waiting(waiting[0].number, 1, 0) == waiting[1:2]
    assert (outbox.depth, outbox.size_bytes) == (71, sum(each.size_bytes for each in (made, *besides)))


def test_whoever_watches_is_told_once_something_new_waits_and_keeps_nobody_from_an_answer(outbox: Outbox) -> None:
    found = list[list[str]]()

    def on_new() -> None:
        found.append(names(outbox))
        raise RuntimeError

    outbox.watch(on_new)
    made = entry()
    with ThreadPoolExecutor(1) as sender:
        assert sender.submit(outbox.accept, made).result(20) == (made.accepted, True)
    assert not outbox.accept(made)[1]
    assert found == [[str(made.batch_id)]]


def test_of_the_receipts_that_are_noted_together_for_one_batch_the_first_counts(outbox: Outbox) -> None:
    """Another for the same content is done with, one that was for other content before it is not."""
    made, stays, done = entry(), entry(), list[str]()
    outbox.accept(made)
    outbox.accept(stays)
    with held(outbox):
        for status, digest in (("rejected", b"other"), ("stored", made.digest), ("rejected", made.digest)):
            outbox.decide(made.key, digest, status, (), lambda told=f"{status} {digest!r}": done.append(told))  # type: ignore[arg-type, misc]  # a literal
        assert outbox._queue._items.qsize() == 3
    until(lambda: len(done) == 2, "both are noted")
    assert done == [f"stored {made.digest!r}", f"rejected {made.digest!r}"]
    assert outbox.status(made.batch_id) == BatchStatus(made.batch_id, SHIP, 3, "stored")
    assert (outbox.depth, outbox.size_bytes) == (1, stays.size_bytes)
    assert names(outbox) == [str(stays.batch_id)]


def test_numbers_are_those_of_the_file(tmp_path: Path) -> None:
    """By them what waits is read from the disk where it is not in memory."""
    made = [entry() for _ in range(70)]
    with an_outbox(tmp_path) as outbox:
        with ThreadPoolExecutor(70) as senders:
            with held(outbox):
                sent = [senders.submit(outbox.accept, each) for each in made]
                until(lambda: outbox._queue._items.qsize() == 70, "all of them wait")
            assert all(each.result(20)[1] for each in sent)
        told = outbox.waiting(0, 1000, 1 << 30)
    with an_outbox(tmp_path) as outbox:
        assert outbox.waiting(0, 1000, 1 << 30) == told
    assert len(told) == 70


def test_a_repeat_is_answered_although_it_is_full(tmp_path: Path) -> None:
    """It needs no room. Other content under its name is a conflict, full or not."""
    made = entry(content="this")
    with an_outbox(tmp_path, len(made.payload) + ENTRY_BYTES) as outbox:
        outbox.accept(made)
        with pytest.raises(Unavailable, match="full"):
            outbox.accept(entry())
        assert outbox.accept(made)[0].status == "accepted"
        with pytest.raises(Conflict):
            outbox.accept(entry(made.batch_id, content="that"))


def test_all_who_wait_for_a_batch_are_told(outbox: Outbox) -> None:
    made, others = entry(), entry()
    outbox.accept(made)
    outbox.accept(others)
    with ThreadPoolExecutor(32) as waiters:
        found = [waiters.submit(outbox.await_decision, made.key, 20) for _ in range(16)]
        still = [waiters.submit(outbox.await_decision, others.key, 20) for _ in range(16)]
        until(lambda: len(outbox._waiters._waiting) == 32, "all of them wait")
        decide(outbox, made)
        assert {each.result(20) for each in found} == {BatchStatus(made.batch_id, SHIP, 3, "stored")}
        assert not any(each.done() for each in still)
        outbox.stop_waiting()
        late = waiters.submit(outbox.await_decision, others.key, 40)
        assert {each.result(20) for each in (*still, late)} == {BatchStatus(others.batch_id, SHIP, 3, "accepted")}
    assert len(outbox._waiters._waiting) == 0


def test_waiting_ends_in_time_and_needs_none_where_it_is_decided(outbox: Outbox) -> None:
    made = entry()
    outbox.accept(made)
    with ThreadPoolExecutor(1) as waiter:
        found = waiter.submit(outbox.await_decision, made.key, 0.01).result(20)
    assert found == BatchStatus(made.batch_id, SHIP, 3, "accepted")
    decide(outbox, made)
    assert outbox.await_decision(made.key, 1e6) == BatchStatus(made.batch_id, SHIP, 3, "stored")
    assert outbox.await_decision(entry().key, 1e6) is None


def test_what_waits_is_given_in_order_and_in_parts(outbox: Outbox) -> None:
    made = [entry(payload=b"x" * 100) for _ in range(10)]
    for each in made:
        outbox.accept(each)
    first = outbox.waiting(0, 4, 1 << 30)
    assert [each.batch_id for each in first] == [str(each.batch_id) for each in made[:4]]
    assert len(outbox.waiting(first[-1].number, 100, 250)) == 2, "as many bytes as that"
    assert len(outbox.waiting(first[-1].number, 100, 1)) == 1, "but one in any case"


def test_a_disk_that_takes_long_can_accept_nothing_now(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest_api.outbox.outbox.WRITE_TEST_S", 0.01)
    with held(outbox):
        assert not outbox.can_accept()
    until(outbox.can_accept, "it can again")


def test_a_call_on_a_closed_outbox_fails(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path, ROOM)
    outbox.close()
    with pytest.raises(Unavailable, match="closed"):
        outbox._queue.call(lambda _: None).result(20)


def test_two_gateways_cannot_share_one(outbox: Outbox, tmp_path: Path) -> None:
    assert outbox.depth == 0
    with pytest.raises(InvalidSettings, match="in use by another gateway"):
        Outbox(tmp_path, ROOM)


def test_what_fails_takes_nothing_with_it(outbox: Outbox) -> None:
    """Neither the thread that writes, nor what is asked of it later."""

    def broken(_: object) -> None:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="ours"):
        outbox._queue.call(broken).result(20)
    assert outbox.accept(entry())[1]


def test_what_finds_no_room_keeps_no_receipt_from_being_noted(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though they are committed together: what is taken out makes room, else a full disk would stay full."""
    made, new = entry(), entry()
    outbox.accept(made)
    noted = threading.Event()

    def full(*_: object) -> None:
        raise Unavailable("database or disk is full")

    monkeypatch.setattr(outbox._entries, "_insert", full)
    with ThreadPoolExecutor(1) as sender:
        with held(outbox):
            sent = sender.submit(outbox.accept, new)
            until(lambda: outbox._queue._items.qsize() == 1, "it is on its way")
            outbox.decide(made.key, made.digest, "stored", (), noted.set)
        with pytest.raises(Unavailable, match="disk is full"):
            sent.result(20)
    assert noted.wait(20)
    assert (outbox.depth, outbox.status(new.batch_id)) == (0, None)


def test_a_fault_in_what_follows_a_receipt_does_not_end_the_thread_that_writes(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever sends a batch would wait for ever."""

    def broken() -> None:
        raise RuntimeError("a fault of ours")

    made = entry()
    outbox.accept(made)
    outbox.decide(made.key, made.digest, "stored", (), broken)
    until(lambda: "a fault of ours" in caplog.text, "the log says so")
    assert outbox.can_accept()
    assert outbox.depth == 0


def test_where_a_receipt_cannot_be_noted_the_batch_goes_on_waiting(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = entry()
    outbox.accept(made)
    with monkeypatch.context() as patched:

        def transaction(_: SqliteFile) -> None:
            raise Unavailable("disk I/O error")

        patched.setattr(SqliteFile, "transaction", transaction)
        outbox.decide(made.key, made.digest, "stored", (), lambda: pytest.fail("it is not durable"))
        until(lambda: "cannot be written" in caplog.text, "the log says so")
    assert names(outbox) == [str(made.batch_id)]
    decide(outbox, made)
    assert names(outbox) == []
