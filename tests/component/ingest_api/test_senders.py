"""Whose a batch is: one sender fills no more than its quota, and a `batch_id` is one ship's."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from ingest_api.outbox.capacity import QuotaFull
from ingest_api.outbox.entry import ENTRY_BYTES, MAX_ENTRY_BYTES, Entry, WaitingEntry
from ingest_api.outbox.file import FILE_NAME
from ingest_api.outbox.outbox import Outbox
from shared.contract.status import BatchKey, BatchStatus
from shared.domain.errors import Conflict, Problem, Unavailable
from shared.http.tokens import EVERYTHING, Access
from tests.support.outbox import SHIP, an_outbox, decide, entry
from tests.support.waiting import until

SIZE = 2_000_000
ROOM = 20 * (SIZE + ENTRY_BYTES)
OURS = Access("ingest", frozenset({SHIP, SHIP + 1}), "ours")
OTHERS = Access("ingest", frozenset({SHIP + 2}), "others")


def large(access: Access = EVERYTHING, ship: int = SHIP) -> Entry:
    return entry(ship=ship, payload=b"x" * SIZE, access=access)


def fill(outbox: Outbox, access: Access = EVERYTHING, ship: int = SHIP) -> list[Entry]:
    """Have large batches of one sender accepted until its quota is full."""
    made: list[Entry] = []
    while True:
        each = large(access, ship)
        try:
            outbox.accept(each)
        except QuotaFull:
            return made
        made.append(each)


def test_sender_fills_half_of_the_outbox(tmp_path: Path) -> None:
    """By its token, for whichever ship it sends; a repeat is answered all the same; others go on being accepted."""
    with an_outbox(tmp_path, ROOM) as outbox:
        made = fill(outbox, OURS)
        assert len(made) == 10
        with pytest.raises(QuotaFull, match="the quota of ours is used up"):
            outbox.accept(large(OURS, SHIP + 1))
        assert outbox.accept(made[0]) == (made[0].accepted, False)
        with pytest.raises(Conflict):
            outbox.accept(entry(made[0].batch_id, payload=made[0].payload, content="other", access=OURS))
        assert outbox.accept(large(OTHERS, SHIP + 2))[1]
        decide(outbox, made[0])
        assert outbox.accept(large(OURS))[1], "there is room again"


def test_without_tokens_a_ship_is_a_sender(tmp_path: Path) -> None:
    with an_outbox(tmp_path, ROOM) as outbox:
        assert len(fill(outbox)) == 10
        for _ in range(10):
            outbox.accept(large(ship=SHIP + 1))
        with pytest.raises(Unavailable, match="the outbox is full"):
            outbox.accept(large(ship=SHIP + 2))


def test_quota_is_known_after_a_restart(tmp_path: Path) -> None:
    with an_outbox(tmp_path, ROOM) as outbox:
        made = fill(outbox, OURS)
    with an_outbox(tmp_path, ROOM) as outbox:
        assert fill(outbox, OURS) == []
        assert outbox.accept(large(OTHERS, SHIP + 2))[1]
        for each in made:
            decide(outbox, each)
        assert len(fill(outbox, OURS)) == len(made)


def test_quota_can_be_set_and_has_room_for_one_batch_in_any_case(tmp_path: Path) -> None:
    with an_outbox(tmp_path / "larger", ROOM, max_sender_bytes=15 * (SIZE + ENTRY_BYTES)) as outbox:
        assert len(fill(outbox)) == 15
    with an_outbox(tmp_path / "smaller", ROOM, max_sender_bytes=1) as outbox:
        largest = entry(payload=b"x" * (MAX_ENTRY_BYTES - ENTRY_BYTES))
        assert outbox.accept(largest)[1]
        with pytest.raises(QuotaFull):
            outbox.accept(entry())


def test_quota_holds_however_many_come_at_once_and_what_is_not_kept_counts_for_nothing(tmp_path: Path) -> None:
    name = uuid4()
    made = [large() for _ in range(16)] + [entry(name, payload=b"x" * SIZE, content=str(i)) for i in range(16)]

    def accepts(each: Entry) -> bool:
        try:
            return outbox.accept(each)[1]
        except (Conflict, QuotaFull):
            return False

    with an_outbox(tmp_path, ROOM) as outbox, ThreadPoolExecutor(16) as senders:
        kept = [each for each, is_new in zip(made, senders.map(accepts, made), strict=True) if is_new]
        assert outbox.size_bytes == sum(each.size_bytes for each in kept) <= ROOM / 2
        for each in kept:
            decide(outbox, each)
        assert len(fill(outbox)) == 10


def test_batch_id_of_a_ship_that_the_sender_may_not_send_for_is_free(tmp_path: Path) -> None:
    """Each ship has its own batch of that name, with a status of its own, before and after a restart."""
    ours = entry(content="ours", access=OURS)
    theirs = entry(ours.batch_id, ship=SHIP + 2, content="theirs", access=OTHERS)
    with an_outbox(tmp_path) as outbox:
        assert outbox.accept(ours) == (ours.accepted, True)
        assert outbox.accept(theirs) == (theirs.accepted, True)
        assert outbox.accept(theirs) == (theirs.accepted, False)
        decide(outbox, theirs)
        assert [each.key for each in outbox.waiting(0, 9, 1 << 30)] == [ours.key]
    with an_outbox(tmp_path) as outbox:
        assert outbox.status(ours.batch_id, OURS) == ours.accepted
        assert outbox.status(ours.batch_id, OTHERS) == BatchStatus(ours.batch_id, SHIP + 2, 3, "stored")
        assert outbox.status(ours.batch_id, Access("ingest", frozenset({SHIP + 3}))) is None
        decide(outbox, ours, "rejected")
        assert outbox.depth == 0


@pytest.mark.parametrize("access", [OURS, Access("ingest", None, "fleet")])
def test_batch_id_of_another_ship_of_the_sender_is_a_conflict(outbox: Outbox, access: Access) -> None:
    made = entry(access=access)
    outbox.accept(made)
    for _ in range(2):
        with pytest.raises(Conflict, match=str(made.batch_id)):
            outbox.accept(entry(made.batch_id, ship=SHIP + 1, access=access))
        decide(outbox, made)


def test_receipt_counts_for_its_ship_only(outbox: Outbox) -> None:
    """Though name and content are those of the batch: another ship has named the gateway's topic as its own."""
    made, done = entry(), threading.Event()
    outbox.accept(made)
    for ship in (SHIP + 1, -1):
        outbox.decide(BatchKey(ship, str(made.batch_id)), made.digest, "stored", (), done.set)
    assert done.wait(20)
    outbox._queue.call(lambda _: None).result(20)
    assert (outbox.depth, outbox.status(made.batch_id)) == (1, made.accepted)


def test_who_waits_for_a_batch_is_told_of_its_own_ships_only(outbox: Outbox) -> None:
    ours = entry(access=OURS)
    theirs = entry(ours.batch_id, ship=SHIP + 2, access=OTHERS)
    outbox.accept(ours)
    outbox.accept(theirs)
    with ThreadPoolExecutor(2) as waiters:
        our_wait, their_wait = (waiters.submit(outbox.await_decision, each.key, 20) for each in (ours, theirs))
        until(lambda: len(outbox._waiters._waiting) == 2, "both wait")
        decide(outbox, theirs)
        assert their_wait.result(20) == BatchStatus(ours.batch_id, SHIP + 2, 3, "stored")
        assert not our_wait.done()
        decide(outbox, ours)
        assert our_wait.result(20) == BatchStatus(ours.batch_id, SHIP, 3, "stored")


def test_a_file_of_the_version_before_is_brought_up_to_date(tmp_path: Path) -> None:
    """What waits, its order and what became of the others; from then on a name is one ship's, and quotas count."""
    connection = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.executescript(Path(__file__).with_name("outbox_version_1.sql").read_text("utf-8"))
    connection.execute("PRAGMA user_version=1")
    connection.close()
    names, waiting = [UUID(int=number) for number in range(6)], list[WaitingEntry]()
    for _ in range(2):
        with an_outbox(tmp_path) as outbox:
            waiting = outbox.waiting(0, 9, 1 << 30)
            assert [(each.number, each.ship, UUID(each.batch_id), each.digest) for each in waiting] == [
                (number, ship, names[number], bytes([number]) * 32) for number, ship in ((2, 8), (3, 7), (4, 7))
            ]
            assert all(str(names[each.number]).encode() in each.payload for each in waiting)
            assert outbox.status(names[1]) == BatchStatus(names[1], 7, 1, "stored")
            assert outbox.status(names[3]) == BatchStatus(names[3], 7, 3, "accepted")
            problems = (Problem("data[0].value", "is odd"),)
            assert outbox.status(names[5]) == BatchStatus(names[5], 8, 5, "rejected", problems)
            sizes = {each.ship: 0 for each in waiting}
            for each in waiting:
                sizes[each.ship] += len(each.payload) + ENTRY_BYTES
            assert outbox._usage._by_sender == {f"ship {ship}": size for ship, size in sizes.items()}
    with an_outbox(tmp_path) as outbox:
        assert outbox.accept(entry(names[1], ship=SHIP + 2, access=OTHERS))[1]
        for each in waiting:
            decide(outbox, Entry(UUID(each.batch_id), each.ship, 1, each.digest, each.payload))
        assert outbox.depth == 1
        upgraded = _schema(tmp_path)
    with an_outbox(tmp_path / "new"):
        assert _schema(tmp_path / "new") == upgraded


def _schema(folder: Path) -> set[tuple[str, str]]:
    connection = sqlite3.connect(folder / FILE_NAME)
    rows = connection.execute("SELECT name, coalesce(sql, '') FROM sqlite_schema").fetchall()
    connection.close()
    return {(name, "".join(sql.replace('"', "").split())) for name, sql in rows}
