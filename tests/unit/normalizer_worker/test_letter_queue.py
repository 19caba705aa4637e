"""Dead letters that cannot be written wait, so many of them; good messages do not wait for them."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from normalizer_worker.ledger import letter_queue
from normalizer_worker.load import Limits
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.worker import Worker
from shared.domain.errors import Unavailable
from tests.support.worker_bench import Bench, batch, message


class Full:
    """A worker whose dead letters cannot be written for a while, and its clock."""

    def __init__(self, *messages: Message, failures: int = 1) -> None:
        self.bench = Bench(*messages)
        self.bench.failures.extend(["keep"] * failures)
        self.registry, self.now_s = CollectorRegistry(), 0.0
        bench, metrics = self.bench, WorkerMetrics(self.registry)
        self.worker = Worker(bench.connect, bench, bench, bench, metrics, limits=Limits(seconds=-1))
        self.worker._letters._now_s = lambda: self.now_s

    def step(self) -> None:
        self.worker.step(self.bench)

    def lost(self) -> float | None:
        return self.registry.get_sample_value("power_worker_dead_letters_dropped_total", {"reason": "disk"})


def test_good_messages_do_not_wait_and_bad_ones_are_acknowledged_once_they_are_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    full = Full(message(1, batch(units="J")), message(2, batch()), message(3, {}), failures=2)
    full.step()
    full.step()
    assert full.bench.acknowledged == [2]
    full.now_s += letter_queue.RETRY_S
    full.step()
    assert full.bench.acknowledged == [2], "it is still full"
    full.now_s += letter_queue.RETRY_S / 2
    full.step()
    assert not full.bench.letters, "it is tried from time to time"
    full.now_s += letter_queue.RETRY_S / 2
    full.step()
    assert full.bench.acknowledged == [2, 1, 3]
    assert [each and each.status for each in full.bench.receipts] == ["stored", "rejected", None]
    assert [each.payload for each in full.bench.letters][1:] == [b"{}"]
    assert full.lost() == 0
    assert caplog.text.count("cannot be written") == 2


@pytest.mark.parametrize(("most", "size_bytes"), [(3, 10**6), (100, 3 * message(1, {}).size_bytes)])
def test_only_so_many_wait_and_the_others_are_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, most: int, size_bytes: int
) -> None:
    monkeypatch.setattr(letter_queue, "MAX_WAITING", most)
    monkeypatch.setattr(letter_queue, "MAX_WAITING_BYTES", size_bytes)
    full = Full(*[message(mid, {}) for mid in range(1, 6)])
    for _ in range(5):
        full.step()
    assert full.bench.acknowledged == [4, 5]
    assert full.lost() == 2
    assert "dead letters are lost" in caplog.text
    full.now_s += letter_queue.RETRY_S
    full.step()
    assert full.bench.acknowledged == [4, 5, 1, 2, 3]
    assert len(full.bench.letters) == 3


def test_what_waits_comes_again_after_a_reconnect() -> None:
    full = Full(message(1, {}), message(2))
    full.step()
    full.bench.failures.append("record")
    with pytest.raises(Unavailable):
        full.step()
    full.bench.connect()
    full.now_s += letter_queue.RETRY_S
    full.step()
    full.step()
    assert full.bench.acknowledged == [1, 2]
    assert len(full.bench.letters) == 1


@pytest.mark.parametrize(
    ("members", "reason", "problem"),
    [
        ({"correlation": b"x" * 129}, "the Correlation Data is too long", "has 129 bytes, more than 128"),
        ({"response_topic": "gateways/" + "é" * 60}, "the Response Topic is too long", "has 129 bytes, more than 128"),
    ],
)
def test_messages_with_too_long_reply_properties_are_rejected(
    members: dict[str, Any], reason: str, problem: str
) -> None:
    bench = Bench(message(1, batch())._replace(**members), message(2, batch())._replace(correlation=b"x" * 128))
    Worker(bench.connect, bench, bench, bench, WorkerMetrics(CollectorRegistry())).step(bench)
    rejected, stored = bench.receipts
    assert rejected is not None
    assert stored is not None
    assert (rejected.topic, rejected.correlation, rejected.status) == ("ships/1/receipts", None, "rejected")
    assert problem in rejected.payload.decode()
    assert [each.reason for each in bench.letters] == [reason]
    assert (stored.status, stored.correlation) == ("stored", b"x" * 128)
