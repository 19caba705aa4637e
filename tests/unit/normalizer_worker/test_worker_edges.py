"""The worker's loop where things go wrong again and again."""

from collections import deque

import pytest
from prometheus_client import CollectorRegistry

from normalizer_worker import worker as worker_module
from normalizer_worker.load import Limits
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.worker import IDLE_S, Worker
from shared.contract.acceptance import Rules
from shared.domain.errors import Unavailable
from tests.support.worker_bench import Bench, message, worker


class WatchedBench(Bench):
    """A source that writes down how long it was asked to wait."""

    def __init__(self, *messages: Message) -> None:
        super().__init__(*messages)
        self.waits: list[float] = []

    def receive(self, wait_s: float) -> Message | None:
        self.waits.append(wait_s)
        return super().receive(wait_s)


def test_one_lone_message_does_not_wait_for_others() -> None:
    """Only for the first message the worker waits: longer, it would do nothing else but ask."""
    bench = WatchedBench(message(1))
    worker(bench).step(bench)
    assert bench.waits == [IDLE_S, 0]


class FlakyBench(Bench):
    """A source that fails where its script says so: a connection is there, but each step of it may not be."""

    def __init__(self, script: str) -> None:
        """Take what the steps do: `-` fails, `m` brings a message."""
        super().__init__()
        self.script = deque(script)

    def connect(self) -> "FlakyBench":
        return self

    def receive(self, wait_s: float) -> Message | None:
        if not wait_s:
            return None
        if self.script.popleft() == "-":
            raise Unavailable("on demand")
        return message(1)


@pytest.mark.parametrize(
    ("script", "pauses"),
    [
        ("--------", [0.25, 0.5, 1, 2, 4, 8, 15, 15]),
        ("---m--", [0.25, 0.5, 1, 0.25, 0.5]),
    ],
    ids=["for long", "with a success between"],
)
def test_the_pauses_between_tries_double_up_to_a_bound_and_start_anew_after_success(
    monkeypatch: pytest.MonkeyPatch, script: str, pauses: list[float]
) -> None:
    """A broker that is away is not hammered, and one that is back is not made to wait."""
    waited: list[float] = []
    monkeypatch.setattr(worker_module, "_wait", lambda seconds, _: waited.append(seconds))
    bench = FlakyBench(script)
    worker(bench).run(lambda: not bench.script, lambda: None)
    assert waited == pauses


def test_readiness_is_told_once_connected_and_not_before() -> None:
    bench = Bench(message(1))
    bench.failures.append("connect")
    worker(bench).run(lambda: bool(bench.acknowledged), lambda: bench.happened.append("ready"))
    assert bench.happened[:2] == ["connect", "ready"]


def test_values_below_0_are_taken_only_where_they_are_allowed() -> None:
    """POWER_ALLOW_NEGATIVE, at the worker."""
    below = message(1, {"units": "kW", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": -1}]})
    for allow in (True, False):
        bench = Bench(below)
        rules = Rules(allow_negative=allow)
        Worker(bench.connect, bench, bench, bench, WorkerMetrics(CollectorRegistry()), rules=rules).step(bench)
        assert (len(bench.readings), len(bench.letters)) == (allow, not allow)


def test_a_message_of_many_readings_fills_a_transaction() -> None:
    """The bound counts readings, not messages."""
    many = {
        "units": "kW",
        "data": [{"datetime": f"2018-08-24T00:0{i}:00Z", "value": 1} for i in range(3)],
    }
    bench = Bench(message(1, many), message(2))
    assert worker(bench, Limits(readings=3)).step(bench) == 1


def test_a_stopping_worker_finishes_the_current_load() -> None:
    """What is stored by then is acknowledged, and nothing more is taken."""
    bench = Bench(message(1), message(2))
    worker(bench, Limits(messages=1)).run(lambda: "record" in bench.happened, lambda: None)
    assert bench.happened == ["connect", "record", "finish", "close"]
    assert bench.acknowledged == [1]


def test_a_stop_ends_the_pause_between_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("normalizer_worker.worker.time.sleep", lambda _: pytest.fail("it went on waiting"))
    worker_module._wait(1000, lambda: True)


def test_a_dead_letter_is_named_in_the_log_with_its_first_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody else is told: its sender has been confirmed by then."""
    bench = Bench(message(1, {"units": "J", "data": []}))
    worker(bench).step(bench)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "'ships/1/readings': the batch is not valid: units should be" in record.message
