"""Dead letters on a disk that is full: what can be stored is stored, and what cannot is kept once there is room."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from normalizer_worker.ledger import letter_queue
from normalizer_worker.ledger.dead_letters import DeadLetters
from normalizer_worker.ledger.first_seen import FirstSeenTimes
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.recorder import Recorder
from normalizer_worker.worker import Worker
from shared.domain.slots import DEFAULT_MAX_GAP_US
from shared.store.sqlite import SqliteStore
from tests.support.disks import fill_up, tmpfs
from tests.support.worker_bench import Bench, message

DISK_BYTES = 4 * 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk", f"size={DISK_BYTES}") as disk:
        yield disk


def test_a_full_disk_of_dead_letters_stops_no_good_message(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letter_queue, "RETRY_S", 0.0)
    letters, store, bench = DeadLetters(disk), SqliteStore(tmp_path), Bench()
    first_seen, metrics = FirstSeenTimes(tmp_path), WorkerMetrics(CollectorRegistry())
    worker = Worker(bench.connect, Recorder(store, DEFAULT_MAX_GAP_US), letters, first_seen, metrics)
    ballast = fill_up(disk)
    for mid in range(1, 401, 2):
        bad = {"batch_id": str(uuid.uuid4()), "data": "x" * 20_000, "mid": mid}
        bench.waiting.extend([message(mid, bad), message(mid + 1)])
        worker.step(bench)
    assert [mid for mid in bench.acknowledged if mid % 2 == 0] == list(range(2, 401, 2))
    waiting = [mid for mid in range(1, 401, 2) if mid not in bench.acknowledged]
    assert len(waiting) == letter_queue.MAX_WAITING
    ballast.unlink()
    worker.step(bench)
    assert set(waiting) <= set(bench.acknowledged), "it recovers by itself"
    assert {json.loads(each.payload)["mid"] for each in letters.all()} >= set(waiting)
    for each in (letters, store, first_seen):
        each.close()
