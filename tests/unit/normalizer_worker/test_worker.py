"""The worker's loop: what it acknowledges and when, with a source and a sink that can be made to fail."""

import pytest

from normalizer_worker.load import Limits
from shared.domain.errors import Unavailable
from tests.support.worker_bench import Bench, message, worker


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
    bench.record = lambda _: 1 / 0  # type: ignore[method-assign,assignment,return-value]
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
