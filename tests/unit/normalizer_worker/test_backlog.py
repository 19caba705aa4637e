"""Batches that take long are recorded in parts, one ship after the other, and no more of them wait than fit."""

import json
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from normalizer_worker import backlog
from normalizer_worker.backlog import Backlog, Part, Room
from normalizer_worker.load import Item, Limits
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.recorder import costs
from normalizer_worker.worker import Worker
from shared.domain.errors import Refused, Unavailable
from shared.domain.readings import Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US
from shared.domain.timestamps import iso
from tests.support.decoding import decode
from tests.support.strategies import DAY_US, START_US
from tests.support.worker_bench import Bench, message

ID = "6f1c2a3e-5b7d-4c1e-9a70-0d4b5f6e7a81"


def wide(mid: int, ship: int = 1, days: int = 100, first_day: int = 0, **members: Any) -> Message:
    """Make a message of readings a day apart: each costs 1,097."""
    days_us = [START_US + (first_day + day) * DAY_US for day in range(days)]
    data = [{"datetime": iso(each), "value": mid} for each in days_us]
    sent = {"batch_id": ID, "sent_at": "2020-01-01T00:00:00Z", "units": "kW", "data": data, **members}
    return message(mid, sent, topic=f"ships/{ship}/readings")


class Watched:
    """A worker with a bench, and what it counts."""

    def __init__(self, *messages: Message, limits: Limits | None = None) -> None:
        self.bench = Bench(*messages)
        self.registry = CollectorRegistry()
        bench, metrics = self.bench, WorkerMetrics(self.registry)
        self.worker = Worker(bench.connect, bench, bench, bench, metrics, limits=limits)

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.worker.step(self.bench)

    def finish(self) -> int:
        steps = 0
        while self.worker.step(self.bench):
            steps += 1
        return steps

    def count(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"power_worker_{name}_total")

    def recorded(self) -> list[tuple[int, int]]:
        """Give ship and day of all that was recorded, sorted."""
        every = Readings.concat(self.bench.readings)
        return sorted(zip(every.ship.tolist(), ((every.moment_us - START_US) // DAY_US).tolist(), strict=True))


def test_a_long_batch_is_recorded_in_parts_and_then_acknowledged_and_others_go_between() -> None:
    watched = Watched(wide(1, days=300), message(2, topic="ships/2/readings"), limits=Limits(seconds=-1))
    watched.step(2)
    watched.bench.waiting.append(message(3, topic="ships/2/readings"))
    watched.step()
    assert watched.bench.acknowledged == [2, 3], "the first one is not yet stored"
    assert watched.finish() > 3
    assert watched.bench.acknowledged == [2, 3, 1]
    assert [each and json.loads(each.payload)["readings"] for each in watched.bench.receipts] == [None, None, 300]
    assert watched.recorded()[:300] == [(1, day) for day in range(300)]
    of_wide = [each for each in watched.bench.readings if each.ship[0] == 1]
    cost = [int(costs(each.ship, each.moment_us, DEFAULT_MAX_GAP_US).sum()) for each in of_wide]
    assert max(cost) <= backlog.MAX_PART_COST
    assert watched.count("readings") == 302


def test_ships_take_turns() -> None:
    watched = Watched(wide(1), wide(2, ship=2), wide(3, ship=3, days=30))
    watched.step(6)
    assert [each.ship[0] for each in watched.bench.readings] == [1, 2, 3, 1, 2, 3]


def test_many_messages_far_apart_are_as_long_as_one_batch_of_them_and_recorded_together() -> None:
    """Each holds one reading only; what makes them expensive is how far apart they lie."""
    watched = Watched(*[wide(mid, days=1, first_day=7 * mid % 101) for mid in range(1, 101)])
    watched.step()
    assert 10 < len(watched.bench.readings[0]) < 20
    assert 3 < watched.finish() < 30, "several at a time"
    assert sorted(watched.bench.acknowledged) == list(range(1, 101))
    assert len(watched.recorded()) == 100


def test_dense_batches_are_never_long_however_many_and_large() -> None:
    data = [{"datetime": iso(START_US + hour * 3_600_000_000), "value": 1} for hour in range(8760)]
    watched = Watched(*[wide(mid, data=data) for mid in range(1, 4)])
    watched.step()
    assert watched.bench.acknowledged == [1, 2, 3]


@pytest.mark.parametrize("failing", ["record", "finish"])
def test_the_backlog_is_dropped_and_redelivered_after_any_outage(failing: str) -> None:
    watched = Watched(wide(1), message(2))
    watched.step(3)
    watched.bench.failures.append(failing)
    with pytest.raises(Unavailable):
        watched.finish()
    watched.bench.connect()
    watched.finish()
    assert sorted(watched.bench.acknowledged) == [1, 2]
    assert {(1, day) for day in range(100)} <= set(watched.recorded())


def test_a_batch_refused_in_a_part_is_a_dead_letter_and_the_rest_of_it_is_not_recorded() -> None:
    watched = Watched(wide(1), wide(2, first_day=200))
    record = watched.bench.record

    def refuse(readings: Readings) -> None:
        if 50 in (readings.moment_us - START_US) // DAY_US:
            raise Refused("nobody takes that day")
        record(readings)

    watched.bench.record = refuse  # type: ignore[method-assign]
    watched.finish()
    assert [each and each.status for each in watched.bench.receipts] == ["rejected", "stored"]
    assert len(watched.bench.letters) == 1
    days = [day for _, day in watched.recorded()]
    assert max(day for day in days if day < 200) < 50
    assert [day for day in days if day >= 200] == list(range(200, 300))


def test_an_undated_batch_counts_as_of_its_arrival() -> None:
    watched = Watched(wide(1, sent_at=None), message(2, topic="ships/2/readings"))
    watched.step(2)
    watched.bench.waiting.append(message(3))
    watched.finish()
    sent_at_us = {int(each.value[0]): each.sent_at_us.max() for each in watched.bench.readings}
    assert sent_at_us[1] < sent_at_us[2] < sent_at_us[3]


def test_what_has_no_room_is_shed_undecoded_without_a_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acknowledged, so that it does not take the room of others' messages; its ship repeats it."""
    monkeypatch.setattr(backlog, "OF_A_SHIP", Room(2, 10**6))
    watched = Watched(*[wide(mid) for mid in range(1, 4)], limits=Limits(seconds=-1))
    watched.worker._backlog = Backlog(DEFAULT_MAX_GAP_US, backlog.OF_A_SHIP)
    watched.step(3)
    assert watched.bench.acknowledged == [3]
    watched.bench.waiting.extend([message(4, {"no": "batch"}), message(5, topic="ships/2/readings")])
    watched.step()
    assert watched.bench.acknowledged == [3, 4, 5]
    assert watched.bench.receipts == [None, None, None]
    assert (watched.count("messages_shed"), watched.bench.letters) == (2, [])
    watched.finish()
    assert watched.bench.acknowledged == [3, 4, 5, 1, 2]
    watched.bench.waiting.append(wide(6))
    watched.finish()
    assert watched.bench.acknowledged[-1] == 6, "there is room again"


def add(one: Backlog, each: Message) -> list[tuple[int, int]]:
    """Add a message; give ships and packet identifiers of what is shed."""
    ship = int(each.topic.split("/")[1])
    item = Item(each, decode(each.payload, topic_ship=ship))
    return [(shed.valid.ship, shed.message.mid) for shed in one.add(item)]


def test_a_ship_has_so_many_messages_and_bytes_but_always_one() -> None:
    size = wide(1).size_bytes
    one = Backlog(DEFAULT_MAX_GAP_US, Room(3, int(2.5 * size)))
    assert [add(one, wide(mid)) for mid in (1, 2, 3)] == [[], [], [(1, 3)]]
    assert [add(one, wide(mid, ship=2, days=5)) for mid in (1, 2, 3, 4)] == [[], [], [], [(2, 4)]]
    assert add(one, wide(1, ship=3, days=500)) == []
    assert [one.is_full(ship) for ship in (1, 2, 3, 4)] == [True, True, False, False]
    assert len(one) == 6


@pytest.mark.parametrize("room", [Room(5, 10**9), Room(1000, int(5.5 * wide(1).size_bytes))], ids=["messages", "bytes"])
def test_the_total_limit_sheds_from_the_ship_with_the_largest_backlog(room: Room) -> None:
    one = Backlog(DEFAULT_MAX_GAP_US, Room(100, 10**9), room)
    assert not any(add(one, wide(mid)) for mid in range(5))
    assert add(one, wide(10, ship=2)) == [(1, 4)]
    assert add(one, wide(11, ship=2)) == [(1, 3)]
    assert not one.is_full(2)
    assert one.is_full(1)


def test_what_is_partly_recorded_is_not_shed() -> None:
    one = Backlog(DEFAULT_MAX_GAP_US, of_all=Room(1, 10**9))
    add(one, wide(1, days=500))
    part = one.next_part()
    assert not part.is_last
    one.done(part, 0.01)
    assert add(one, wide(2, ship=2)) == [(2, 2)]


@pytest.mark.parametrize(("took_s", "first", "last"), [(0.01, 5, 45), (1.0, 5, 4)])
def test_parts_grow_where_the_store_is_quick_and_shrink_where_it_is_slow(took_s: float, first: int, last: int) -> None:
    one, parts = Backlog(DEFAULT_MAX_GAP_US), list[Part]()
    add(one, wide(1, days=1000))
    while len(one):
        parts.append(one.next_part())
        one.done(parts[-1], took_s)
    assert len(parts[0].readings) == first
    assert abs(len(parts[-3].readings) - last) <= 1
    assert np.concatenate([each.readings.moment_us for each in parts]).tolist() == [
        START_US + day * DAY_US for day in range(1000)
    ]
