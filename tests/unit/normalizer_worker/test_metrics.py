"""What the worker tells of itself, while its loop runs on a source and a sink that can be made to fail."""

import pytest
from prometheus_client import CollectorRegistry

from normalizer_worker.metrics import STALLED_S, WorkerMetrics
from normalizer_worker.worker import Worker
from shared.contract.acceptance import Rules
from shared.domain.errors import Unavailable
from shared.domain.timestamps import LAST_US
from tests.support.worker_bench import Bench, message


class Watched:
    """A worker, its registry, and the clock by which it counts as stuck."""

    def __init__(self, bench: Bench) -> None:
        self.now_s = 0.0
        self.registry = CollectorRegistry()
        self.metrics = WorkerMetrics(self.registry, lambda: self.now_s)
        self.worker = Worker(bench.connect, bench, bench, bench, self.metrics, rules=Rules(max_ahead_us=LAST_US))

    def value(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"power_worker_{name}")

    def checks(self) -> dict[str, bool]:
        return {name: check() for name, check in self.metrics.checks().items()}


def dated(mid: int, sent_at: str) -> dict[str, object]:
    reading = {"datetime": "2018-08-24T00:00:00Z", "value": mid}
    return {"units": "kW", "sent_at": sent_at, "data": [reading, reading]}


def test_a_transaction_is_counted_with_what_it_stored() -> None:
    bench = Bench(message(1), message(2, {}), message(3, dated(3, "2020-01-01T00:00:00Z")))
    watched = Watched(bench)
    watched.worker.step(bench)
    watched.worker.step(bench)
    assert watched.value("messages_total") == 3
    assert watched.value("readings_total") == 3
    assert watched.value("dead_letters_total") == 1
    assert watched.value("transaction_seconds_count") == 1, "the second step had nothing to store"


def test_the_lag_is_that_of_batches_which_say_when_they_were_sent() -> None:
    bench = Bench(
        message(1), message(2, dated(2, "2020-01-01T00:00:00Z")), message(3, dated(3, "2199-01-01T00:00:00Z"))
    )
    watched = Watched(bench)
    watched.worker.step(bench)
    assert watched.value("batch_lag_seconds_count") == 2
    in_the_future = watched.registry.get_sample_value("power_worker_batch_lag_seconds_bucket", {"le": "0.01"})
    assert in_the_future == 1, "a sender's clock that is ahead is no lag"
    assert (watched.value("batch_lag_seconds_sum") or 0) > 86_400 * 365


def test_what_was_not_stored_is_not_counted_and_shows() -> None:
    bench = Bench(message(1), message(2))
    bench.failures.append("record")
    watched = Watched(bench)
    with pytest.raises(Unavailable):
        watched.worker.step(bench)
    assert watched.value("messages_total") == 0
    assert not watched.checks()["store"]
    watched.worker.step(bench.connect())
    assert watched.value("messages_total") == 2
    assert watched.checks()["store"]


def test_only_a_worker_with_a_session_is_ready() -> None:
    bench = Bench()
    watched = Watched(bench)
    others = dict.fromkeys(("subscription", "queue", "store", "dead_letters", "progress"), True)
    assert watched.checks() == {"broker": False, **others}
    seen: list[dict[str, bool]] = []
    watched.worker.run(lambda: bool(seen), lambda: seen.append(watched.checks()))
    assert seen == [{"broker": True, **others}]
    assert not watched.checks()["broker"]


def test_connections_after_the_first_are_counted() -> None:
    bench = Bench(message(1))
    bench.failures.append("record")
    watched = Watched(bench)
    watched.worker.run(lambda: bool(bench.acknowledged), lambda: None)
    assert watched.value("reconnects_total") == 1


def test_without_progress_for_long_the_worker_is_stuck_until_it_gets_on() -> None:
    bench = Bench()
    watched = Watched(bench)
    before_s = watched.value("last_progress_timestamp_seconds")
    watched.now_s = STALLED_S
    assert watched.checks()["progress"]
    watched.now_s += 1
    assert not watched.checks()["progress"]
    assert watched.worker.step(bench) == 0, "an idle look at a live connection is progress, too"
    assert watched.checks()["progress"]
    assert watched.value("last_progress_timestamp_seconds") != before_s


def test_a_broker_that_was_started_again_counts_what_it_drops_from_0() -> None:
    watched = Watched(Bench())
    for count, shows in ((10, False), (10, False), (3, True)):
        watched.metrics.broker.dropped(count)
        assert watched.checks()["queue"] is not shows
