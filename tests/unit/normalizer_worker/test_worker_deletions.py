"""Deletions at the worker: done in parts between the loads of other ships, receipted, and repeated without harm."""

import json
from typing import Any

import pytest

from normalizer_worker import recorder
from normalizer_worker.load import Limits
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.recorder import Recorder
from shared.domain.deletions import DeletionRow
from shared.domain.errors import Refused, Unavailable
from shared.domain.readings import Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, Window
from shared.domain.timestamps import iso
from shared.store.memory import MemoryStore
from tests.support import reference
from tests.support.comparing import assert_same
from tests.support.reference import POWER_KW, Deletion, Reading
from tests.support.strategies import START_US
from tests.support.worker_bench import ID, Bench, batch, finish, message, statuses, worker

HOUR_US = 3600 * 10**6
SENT_US = START_US + 100 * HOUR_US


def deletion(mid: int, hours: int = 1, ship: int = 1, **members: Any) -> Message:
    """Make a message that deletes some hours, each of which is a part at the bench."""
    span = {"start": iso(START_US), "end": iso(START_US + hours * HOUR_US)}
    return message(mid, {"delete": span, "batch_id": ID, **members}, topic=f"ships/{ship}/readings")


def test_deletion_is_done_in_parts_and_other_ships_go_between() -> None:
    bench = Bench(deletion(1, hours=3), message(2, topic="ships/2/readings"))
    one = worker(bench, Limits(seconds=-1))
    one.step(bench)
    one.step(bench)
    bench.waiting.append(message(3, topic="ships/2/readings"))
    assert bench.acknowledged == [2], "the deletion is not done yet"
    while one.step(bench):
        pass
    assert bench.acknowledged == [2, 3, 1]
    assert [each[1:3] for each in bench.deleted] == [
        (START_US + hour * HOUR_US, START_US + (hour + 1) * HOUR_US) for hour in range(3)
    ]
    assert statuses(bench) == [None, None, "stored"]
    assert json.loads(bench.receipts[-1].payload if bench.receipts[-1] else "")["readings"] == 0


def test_repeated_deletion_is_done_again_and_receipted_again() -> None:
    bench = Bench(deletion(1), deletion(2))
    finish(bench)
    assert statuses(bench) == ["stored", "stored"]
    assert bench.deleted[0] == bench.deleted[1], "the second one deletes nothing that was sent after the first"


def test_deletion_without_an_id_gets_no_receipt() -> None:
    bench = Bench(deletion(1, batch_id=None))
    finish(bench)
    assert (bench.acknowledged, bench.receipts) == ([1], [None])


def test_bad_deletion_is_a_dead_letter() -> None:
    bench = Bench(deletion(1, units="kW"), deletion(2, spaceship_id=2))
    finish(bench)
    assert statuses(bench) == ["rejected", "rejected"]
    assert len(bench.letters) == 2
    assert not bench.deleted


def test_refused_deletion_is_a_dead_letter_and_not_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(deletion(1, hours=3), message(2, batch()))

    def refuse(_: DeletionRow, __: int) -> DeletionRow | None:
        raise Refused("the ship has too many deletions")

    monkeypatch.setattr(bench, "delete_part", refuse)
    finish(bench)
    assert sorted(zip(bench.acknowledged, statuses(bench), strict=True)) == [(1, "rejected"), (2, "stored")]
    assert [each.reason for each in bench.letters] == ["the ship has too many deletions"]


def test_deletion_is_shed_where_the_backlog_of_its_ship_is_full() -> None:
    """It is acknowledged without a receipt, so that its sender repeats it."""
    bench = Bench(*[deletion(mid, hours=2, note="x" * 60_000) for mid in range(700)])
    finish(bench)
    assert sorted(bench.acknowledged) == list(range(700))
    assert 0 < statuses(bench).count("stored") < 700
    assert len(bench.deleted) == 2 * statuses(bench).count("stored")


class Stored(Bench):
    """A bench whose sink is the recorder over a store in memory."""

    def __init__(self, *messages: Message) -> None:
        super().__init__(*messages)
        self.store = MemoryStore()
        self.recorder = Recorder(self.store, DEFAULT_MAX_GAP_US)

    def record(self, readings: Readings) -> None:
        super().record(readings)
        self.recorder.record(readings)

    def delete_part(self, deletion: DeletionRow, most_cost: int) -> DeletionRow | None:
        self._do("delete")
        return self.recorder.delete_part(deletion, most_cost)


ROWS = [Reading(1, START_US + at * HOUR_US // 4, 1.0 + at, POWER_KW, SENT_US - 1 + at % 3) for at in range(12)]
DELETED = Deletion(1, START_US, START_US + 2 * HOUR_US, SENT_US)


def sent(mid: int, row: Reading) -> Message:
    data = [{"datetime": iso(row.moment_us), "value": row.value}]
    return message(mid, {"units": "kW", "sent_at": iso(row.sent_at_us), "data": data})


def mixed(deleted_at: int) -> list[Message]:
    """Make a message for each row, and the deletion among them."""
    messages = [sent(mid, row) for mid, row in enumerate(ROWS, 1)]
    messages.insert(deleted_at, deletion(99, hours=2, sent_at=iso(SENT_US)))
    return messages


@pytest.mark.parametrize("deleted_at", [0, 5, 12])
@pytest.mark.parametrize("together", [1, 100])
def test_deletion_among_batches_in_any_order_gives_the_reference(
    deleted_at: int, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It deletes what was sent before it, also what arrives later or between its parts."""
    monkeypatch.setattr(recorder, "MAX_DELETED", 1)
    bench = Stored(*mixed(deleted_at))
    one = worker(bench, Limits(messages=together))
    while one.step(bench):
        pass
    assert_same(bench.store.slots(1, Window()), reference.slots(ROWS, DEFAULT_MAX_GAP_US, [DELETED]))


@pytest.mark.parametrize("done", [0, 1, 2])
def test_deletion_that_is_redelivered_halfway_is_completed(done: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_DELETED", 1)
    bench = Stored(*mixed(12))
    one = worker(bench)
    for _ in range(done):
        one.step(bench)
    bench.failures.append("delete")
    with pytest.raises(Unavailable):
        one.step(bench)
    assert 99 not in bench.acknowledged
    bench.connect()
    while one.step(bench):
        pass
    assert bench.acknowledged.count(99) == 1
    assert_same(bench.store.slots(1, Window()), reference.slots(ROWS, DEFAULT_MAX_GAP_US, [DELETED]))
