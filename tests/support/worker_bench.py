"""A worker around which everything is a stand-in that writes down what happened in which order."""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.ledger.first_seen import Seen
from normalizer_worker.load import Limits
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.mqtt.receipts import Receipt
from normalizer_worker.rule.normalize import latest
from normalizer_worker.worker import Worker
from shared.domain.covariates import Covariates
from shared.domain.deletions import DeletionRow
from shared.domain.errors import Unavailable
from shared.domain.readings import Readings
from shared.domain.timestamps import US_PER_S
from tests.support.first_seen import first_in

ID = "6f1c2a3e-5b7d-4c1e-9a70-0d4b5f6e7a81"


class Bench:
    """Source, sink, dead letters and memory in one, which writes down what happened in which order."""

    def __init__(self, *messages: Message) -> None:
        self.sent = messages
        self.is_kept_alive = False
        self.waiting = deque(messages)
        self.happened: list[str] = []
        self.readings: list[Readings] = []
        self.deleted: list[DeletionRow] = []
        self.covariates: list[Covariates] = []
        self.letters: list[DeadLetter] = []
        self.acknowledged: list[int] = []
        self.receipts: list[Receipt | None] = []
        self.remembered: dict[bytes, tuple[int, bytes]] = {}
        self.failures: deque[str] = deque()
        self.are_lost = False
        """Whether what is stored outranks all readings."""

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

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        self.is_kept_alive = True
        try:
            yield
        finally:
            self.is_kept_alive = False

    def finish(self, done: Sequence[Done]) -> None:
        self._do("finish")
        self.acknowledged += [each.message.mid for each in done]
        self.receipts += [each.receipt for each in done]

    def first(self, seen: Sequence[Seen]) -> list[int | None]:
        self._do("remember")
        return first_in(self.remembered, seen)

    def record(self, readings: Readings) -> Readings | None:
        assert self.is_kept_alive, "the broker would miss a worker that stores for long"
        self._do("record")
        self.readings.append(readings)
        newest = latest(readings)
        if self.are_lost:
            return newest
        return newest[:0] if len(newest) < len(readings) else None

    def delete_part(self, deletion: DeletionRow, most_cost: int) -> DeletionRow | None:
        """Delete as much as one hour of a deletion."""
        assert self.is_kept_alive, "the broker would miss a worker that stores for long"
        assert most_cost > 0
        self._do("delete")
        ship, start_us, end_us, sent_at_us = deletion
        until_us = min(start_us + 3600 * US_PER_S, end_us)
        self.deleted.append((ship, start_us, until_us, sent_at_us))
        return None if until_us == end_us else (ship, until_us, end_us, sent_at_us)

    def put_covariates(self, covariates: Covariates) -> None:
        assert self.is_kept_alive, "the broker would miss a worker that stores for long"
        self._do("covariates")
        self.covariates.append(covariates)

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


def worker(bench: Bench, limits: Limits | None = None, *, several_gateways: bool = False) -> Worker:
    metrics = WorkerMetrics(CollectorRegistry())
    return Worker(bench.connect, bench, bench, bench, metrics, limits=limits, several_gateways=several_gateways)


def finish(bench: Bench) -> None:
    """Have a worker do all there is to do."""
    one = worker(bench)
    while one.step(bench):
        pass


def statuses(bench: Bench) -> list[Any]:
    """Return what the receipts say; None where there is no receipt."""
    return [each and json.loads(each.payload)["status"] for each in bench.receipts]


def batch(value: float = 1, **members: Any) -> dict[str, Any]:
    good = {"units": "kW", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": value}] * 2, "batch_id": ID}
    return {name: member for name, member in {**good, **members}.items() if member is not None}
