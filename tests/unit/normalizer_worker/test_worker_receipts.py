"""Which receipt each message gets, and what a repeat of a batch without `sent_at` counts as."""

import json
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from normalizer_worker.first_counts import FirstCounts
from normalizer_worker.load import Limits
from normalizer_worker.metrics import MAX_DEAD_IN_A_ROW, WorkerMetrics
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.worker import Worker
from shared.domain.errors import Refused, Unavailable
from shared.domain.readings import Readings
from tests.support.worker_bench import ID, Bench, batch, message, worker

OTHER_ID = "00000000-0000-4000-8000-000000000000"


def answers(bench: Bench) -> list[tuple[str, Any] | None]:
    return [each and (each.topic, json.loads(each.payload)) for each in bench.receipts]


def stored(ship: int = 1, batch_id: str = ID) -> Any:
    return {"batch_id": batch_id, "spaceship_id": ship, "status": "stored", "readings": 2, "errors": []}


def test_a_stored_batch_with_an_id_gets_a_receipt_and_one_without_gets_none() -> None:
    bench = Bench(message(1, batch()), message(2), message(3, batch(spaceship_id=2), topic="ships/2/readings"))
    worker(bench).step(bench)
    assert answers(bench) == [("ships/1/receipts", stored()), None, ("ships/2/receipts", stored(2))]
    assert bench.happened[-1] == "finish"


@pytest.mark.parametrize(("qos", "retained"), [(0, False), (1, True), (2, False)])
def test_every_kind_of_message_gets_one(qos: int, retained: bool) -> None:  # noqa: FBT001  # a parameter of pytest's
    bench = Bench(message(1, batch())._replace(qos=qos, retained=retained))
    worker(bench).step(bench)
    assert answers(bench) == [("ships/1/receipts", stored())]


def test_the_answer_goes_where_it_is_asked_for_with_its_correlation_data() -> None:
    here = message(1, batch())._replace(response_topic="gateways/1/2", correlation=b"\0\xff")
    elsewhere = message(2, batch())._replace(response_topic="ships/2/receipts", correlation=b"")
    bench = Bench(here, elsewhere)
    worker(bench).step(bench)
    assert [each and (each.topic, each.correlation) for each in bench.receipts] == [
        ("gateways/1/2", b"\0\xff"),
        ("ships/1/receipts", b""),
    ]


def test_a_rejected_batch_is_told_every_fault() -> None:
    bad = batch(units="J", data=[{"datetime": "2018-08-24T00:00:00Z", "value": -1}])
    bench = Bench(message(1, bad))
    worker(bench).step(bench)
    errors = [
        {"at": "units", "problem": "should be 'W', 'kW', 'MW', 'Wh', 'kWh' or 'MWh'"},
        {"at": "data[0].value", "problem": "should be greater than or equal to 0"},
    ]
    receipt = {"batch_id": ID, "spaceship_id": 1, "status": "rejected", "readings": 0, "errors": errors}
    assert answers(bench) == [("ships/1/receipts", receipt)]


@pytest.mark.parametrize(
    "bad",
    [
        message(1, batch(units="J"), topic="ships/x/readings"),
        message(1, batch(units="J", batch_id=None)),
        message(1, batch(batch_id="not a UUID")),
        message(1, batch(batch_id=7)),
        message(1, [batch()]),
        Message("ships/1/readings", f'{{"batch_id": "{ID}"'.encode(), retained=False, qos=1, mid=1),
        Message("ships/1/readings", b"\xff", retained=False, qos=1, mid=1),
    ],
    ids=["no ship", "no id", "a wrong id", "a number", "a list", "half an object", "no text"],
)
def test_there_is_no_receipt_without_a_ship_or_a_batch_id(bad: Message) -> None:
    bench = Bench(bad)
    worker(bench).step(bench)
    assert (bench.receipts, len(bench.letters)) == ([None], 1)


def test_what_is_too_large_is_told_so_where_its_id_can_be_found() -> None:
    note = "x" * 9_000_000
    last = {"note": note, **batch()}
    two = batch(batch_id="0d4b5f6e-7a81-4c1e-9a70-6f1c2a3e5b7d", note=note, more={"batch_id": ID})
    two = {name: two[name] for name in ("batch_id", "more", "note")}
    bench = Bench(message(1, batch(note=note)), message(2, last), message(3, two))
    assert worker(bench).step(bench) + worker(bench).step(bench) == 3
    first, second, third = answers(bench)
    assert first is not None
    assert "at most 8388608 bytes" in first[1]["errors"][0]["problem"]
    assert first[1]["batch_id"] == ID
    assert (second, third) == (None, None), "too far behind, and not the only one"


def test_what_has_too_many_parts_is_told_so_by_its_id() -> None:
    """It is not even parsed, and its id stands in it all the same."""
    bench = Bench(message(1, batch(note=[0] * 1_000_000)))
    worker(bench).step(bench)
    (told,) = answers(bench)
    assert told is not None
    assert (told[1]["batch_id"], [each["at"] for each in told[1]["errors"]]) == (ID, ["body"])


def test_what_the_store_refuses_is_rejected_with_its_reason_and_the_rest_is_stored() -> None:
    bench = Bench(*[message(i, batch(value=i)) for i in range(5)])
    record = bench.record

    def refuse(readings: Readings) -> None:
        if 3 in readings.value:
            raise Refused("nobody takes a 3")
        record(readings)

    bench.record = refuse  # type: ignore[method-assign]
    worker(bench).step(bench)
    said = [each and each[1]["status"] for each in answers(bench)]
    assert said == ["stored", "stored", "stored", "rejected", "stored"]
    refused = answers(bench)[3]
    assert refused is not None
    assert refused[1]["errors"] == [{"at": "store", "problem": "nobody takes a 3"}]
    assert len(bench.letters) == 1


@pytest.mark.parametrize("failing", ["remember", "record"])
def test_nothing_is_said_of_what_is_not_durable(failing: str) -> None:
    bench = Bench(message(1, batch()), message(2, batch(units="J")))
    bench.failures.append(failing)
    with pytest.raises(Unavailable):
        worker(bench).step(bench)
    assert bench.receipts == []


def sent_at(bench: Bench) -> list[int]:
    return [each for readings in bench.readings for each in readings.sent_at_us.tolist()]


def test_a_repeat_without_sent_at_is_as_old_as_the_first() -> None:
    """It would undo the correction that was sent between."""
    first, correction = message(1, batch(1)), message(2, batch(2, batch_id=OTHER_ID))
    bench = Bench(first, correction, first._replace(mid=3))
    one = worker(bench, Limits(messages=1))
    for _ in range(3):
        one.step(bench)
    old, new, repeat = sent_at(bench)
    assert repeat == old < new
    assert [each and each[1] for each in answers(bench)] == [stored(), stored(batch_id=OTHER_ID), stored()]


def test_a_repeat_in_the_same_transaction_is_one_too() -> None:
    first = message(1, batch(1))
    bench = Bench(first, message(2, batch(2, batch_id=OTHER_ID)), first._replace(mid=3))
    worker(bench).step(bench)
    old, new, repeat = sent_at(bench)
    assert repeat == old < new


def test_the_first_seen_time_is_kept_when_the_store_fails() -> None:
    bench = Bench(message(1, batch()))
    bench.failures.append("record")
    one = worker(bench)
    with pytest.raises(Unavailable):
        one.step(bench)
    ((remembered, _),) = bench.remembered.values()
    one.step(bench.connect())
    assert sent_at(bench) == [remembered]


def test_a_retained_repeat_keeps_its_first_seen_time_and_other_retained_batches_get_0() -> None:
    bench = Bench(message(1, batch()), message(2, batch(), retained=True), message(3, batch(5), retained=True))
    worker(bench).step(bench)
    live, repeat, retained = sent_at(bench)
    assert live == repeat > 0 == retained


def test_only_what_may_be_such_a_repeat_is_remembered() -> None:
    """Nobody else pays for it."""
    dated = batch(sent_at="2020-01-01T00:00:00Z")
    bench = Bench(message(1), message(2, dated), message(3, batch(units="J")))
    worker(bench).step(bench)
    assert "remember" not in bench.happened


class Watched:
    """A worker and its metrics."""

    def __init__(self, bench: Bench, limits: Limits | None = None) -> None:
        self.registry = CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry)
        self.worker = Worker(bench.connect, bench, bench, bench, self.metrics, limits=limits)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"power_worker_{name}", labels)

    @property
    def ready(self) -> bool:
        return self.metrics.checks()["dead_letters"]()


def test_receipts_are_counted_by_what_they_say() -> None:
    bench = Bench(message(1, batch()), message(2, batch()), message(3, batch(units="J")), message(4))
    watched = Watched(bench)
    assert watched.value("receipts_total", status="stored") == 0
    watched.worker.step(bench)
    assert watched.value("receipts_total", status="stored") == 2
    assert watched.value("receipts_total", status="rejected") == 1
    watched.metrics.broker.refused(2)
    assert watched.value("receipts_refused_total") == 2


@pytest.mark.parametrize("limits", [Limits(messages=1), Limits(messages=7), Limits()])
def test_the_worker_is_not_ready_after_many_dead_letters_until_a_message_is_stored(limits: Limits) -> None:
    """So many are not their senders' fault."""
    bad = [message(i, {}) for i in range(MAX_DEAD_IN_A_ROW)]
    bench = Bench(message(200), *bad[:-1])
    watched = Watched(bench, limits)
    while watched.worker.step(bench):
        assert watched.ready
    assert watched.value("dead_letters_in_a_row") == MAX_DEAD_IN_A_ROW - 1
    bench.waiting.append(bad[-1])
    watched.worker.step(bench)
    assert not watched.ready
    bench.waiting.extend([message(201), message(202, {})])
    while watched.worker.step(bench):
        pass
    assert watched.ready
    assert watched.value("dead_letters_in_a_row") == 1


@pytest.mark.parametrize("are_lost", [False, True])
def test_receipts_say_how_many_readings_do_not_count(are_lost: bool) -> None:  # noqa: FBT001  # as above
    """Those that the sink names, and those that an earlier message of the same load outranks; repeats are none."""
    newer, older = batch(1, sent_at="2019-01-02T00:00:00Z"), batch(2, sent_at="2019-01-01T00:00:00Z")
    bench = Bench(message(1, newer), message(2, older), message(3, newer))
    bench.are_lost = are_lost
    worker(bench).step(bench)
    said = [answer[1].get("superseded") for answer in answers(bench) if answer]
    assert said == ([1, 1, 1] if are_lost else [None, 1, None])


def test_parts_of_a_long_batch_are_counted_together() -> None:
    moments = [f"2018-{month:02}-{day:02}T00:00:00Z" for month in range(1, 13) for day in range(1, 29)]
    days = [{"datetime": each, "value": 1} for each in moments]
    bench = Bench(message(1, batch(data=days)), message(2, batch(data=days, batch_id=OTHER_ID, units="kWh")))
    bench.are_lost = True
    one = worker(bench)
    while one.step(bench):
        pass
    assert len(bench.readings) > 1
    assert [answer[1].get("superseded") for answer in answers(bench) if answer] == [len(days)] * 2


def test_a_repeat_is_told_the_same_though_it_is_corrected_by_now() -> None:
    """As long as it is remembered; other content under the same `batch_id` is another batch."""
    first, other = batch(1, sent_at="2019-01-01T00:00:00Z"), batch(2, sent_at="2019-01-01T00:00:00Z")
    bench = Bench(message(1, first), message(2, first), message(3, other))
    one = worker(bench, Limits(messages=1))
    one.step(bench)
    bench.are_lost = True
    one.step(bench)
    one.step(bench)
    assert [answer[1].get("superseded") for answer in answers(bench) if answer] == [None, None, 1]


def test_the_oldest_of_too_many_first_counts_are_forgotten() -> None:
    counts, batch_id = FirstCounts(most=2), UUID(ID)
    for mid in (1, 2, 3):
        assert counts.first(message(mid), batch_id, mid) == mid
    assert [counts.first(message(mid), batch_id, 9) for mid in (2, 3, 1)] == [2, 3, 9]
