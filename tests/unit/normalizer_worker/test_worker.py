"""The worker's loop: what it acknowledges and when, with a source and a sink that can be made to fail."""

import json
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.mqtt.receipts import Receipt
from normalizer_worker.worker import Limits, Worker
from shared.domain.errors import Unavailable
from shared.domain.readings import Readings


class Bench:
    """Source, sink, morgue and memory in one, which writes down what happened in which order."""

    def __init__(self, *messages: Message) -> None:
        self.sent = messages
        self.waiting = deque(messages)
        self.happened: list[str] = []
        self.readings: list[Readings] = []
        self.letters: list[DeadLetter] = []
        self.acknowledged: list[int] = []
        self.receipts: list[Receipt | None] = []
        self.remembered: dict[bytes, int] = {}
        self.failures: deque[str] = deque()

    def _do(self, what: str) -> None:
        if self.failures and self.failures[0] == what:
            self.failures.popleft()
            raise Unavailable(what)
        self.happened.append(what)

    def connect(self) -> "Bench":
        self._do("connect")
        self.waiting = deque(each for each in self.sent if each.mid not in self.acknowledged)
        return self

    def receive(self, wait_s: float) -> Message | None:  # noqa: ARG002  # nothing ever comes later
        return self.waiting.popleft() if self.waiting else None

    def finish(self, done: Sequence[Done]) -> None:
        self._do("finish")
        self.acknowledged += [each.message.mid for each in done]
        self.receipts += [each.receipt for each in done]

    def first(self, arrivals: Sequence[tuple[bytes, int]]) -> list[int]:
        self._do("remember")
        return [self.remembered.setdefault(key, came_us) for key, came_us in arrivals]

    def record(self, readings: Readings) -> None:
        self._do("record")
        self.readings.append(readings)

    def tidy(self) -> bool:
        return False  # as a sink, and as what keeps dead letters

    def keep(self, letters: Sequence[DeadLetter]) -> int:
        self._do("keep")
        self.letters += letters
        return 0

    def close(self) -> None:
        self._do("close")


def message(mid: int, batch: Any = None, *, topic: str = "ships/1/readings", retained: bool = False) -> Message:
    good = {"units": "kW", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": mid}]}
    return Message(topic, json.dumps(good if batch is None else batch).encode(), retained, 1, mid)


def worker(bench: Bench, limits: Limits | None = None) -> Worker:
    return Worker(bench.connect, bench, bench, bench, WorkerMetrics(CollectorRegistry()), limits=limits)


def test_acknowledgement_comes_after_everything_is_durable() -> None:
    bench = Bench(message(1), message(2, {}), message(3))
    assert worker(bench).step(bench) == 3
    assert bench.happened == ["record", "keep", "finish"]
    assert bench.acknowledged == [1, 2, 3]
    assert [len(each) for each in bench.readings] == [2]
    assert [letter.payload for letter in bench.letters] == [b"{}"]


def test_what_cannot_be_stored_now_is_not_acknowledged() -> None:
    bench = Bench(message(1), message(2, {}))
    bench.failures.append("record")
    with pytest.raises(Unavailable):
        worker(bench).step(bench)
    assert bench.acknowledged == []


def test_a_bug_is_not_swallowed() -> None:
    bench = Bench(message(1))
    bench.record = lambda _: 1 / 0  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        worker(bench).run(lambda: False, lambda: None)
    assert bench.acknowledged == []
    assert bench.happened == ["connect", "close"]


@pytest.mark.parametrize("failing", ["connect", "record", "finish"])
def test_whatever_is_away_a_new_connection_is_opened(failing: str, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(message(1))
    bench.failures.append(failing)
    worker(bench).run(lambda: bool(bench.acknowledged), lambda: None)
    assert not bench.failures
    assert bench.acknowledged == [1]
    assert bench.happened.count("connect") == (1 if failing == "connect" else 2)
    assert f"{failing}; next try in 0.2 s" in caplog.text


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(messages=2), [2, 2, 1]),
        (Limits(readings=3), [3, 2]),
        (Limits(size_bytes=4 * len(message(0).payload)), [4, 1]),
        (Limits(seconds=-1), [1, 1, 1, 1, 1]),
        (Limits(), [5]),
    ],
    ids=["messages", "readings", "bytes", "seconds", "none reached"],
)
def test_a_transaction_is_bounded(limits: Limits, expected: list[int]) -> None:
    bench = Bench(*[message(mid) for mid in range(5)])
    one = worker(bench, limits)
    steps = [one.step(bench) for _ in expected]
    assert steps == expected
    assert one.step(bench) == 0


def test_without_sent_at_the_order_of_arrival_counts() -> None:
    bench = Bench(*[message(mid) for mid in range(3)])
    worker(bench).step(bench)
    sent_at_us = bench.readings[0].sent_at_us.tolist()
    assert sent_at_us == sorted(set(sent_at_us))


def test_a_retained_message_without_sent_at_corrects_nothing() -> None:
    dated = {"units": "kW", "sent_at": "2020-01-01T00:00:00Z", "data": [{"datetime": "2018-08-24T00:00Z", "value": 1}]}
    bench = Bench(message(1, retained=True), message(2, dated, retained=True))
    worker(bench).step(bench)
    assert bench.readings[0].sent_at_us.tolist() == [0, 1_577_836_800_000_000]


@pytest.mark.parametrize(
    "topic", ["ships/x/readings", "ships/01/readings", "ships//readings", f"ships/{2**53}/readings"]
)
def test_a_topic_without_a_ship_makes_a_dead_letter(topic: str) -> None:
    bench = Bench(message(1, topic=topic))
    worker(bench).step(bench)
    assert [letter.reason for letter in bench.letters] == ["the topic names no ship"]
    assert bench.acknowledged == [1]
