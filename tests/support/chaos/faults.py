"""Faults that a run under chaos has to find: each breaks one promise, in one process that is started with it.

`python -m tests.support.chaos.faults NAME MODULE` runs a service's module with one of them in it.
"""

import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ingest_api.delivery.mqtt_link import Link
from ingest_api.delivery.publisher import Publisher
from normalizer_worker.ledger.first_seen import FirstSeenTimes, Seen
from normalizer_worker.ledger.partition_first_seen import PartitionFirstSeen
from normalizer_worker.worker import Source, Worker
from shared.contract.status import BatchKey
from shared.store.postgres import writer


def acknowledge_first() -> None:
    """Have the worker say that batches are stored, and acknowledge them, before it stores them."""

    def step(self: Worker, source: Source) -> int:
        load = self._gather(source)
        if load.items:
            source.finish([each.done() for each in load.items])
            self._store(load)
        self._sink.tidy()
        return len(load.items)

    Worker.step = step  # type: ignore[method-assign]  # it is replaced on purpose


def gone_at_puback() -> None:
    """Have the gateway take a batch out of its outbox when the broker confirms it."""
    publish, report = Link.publish, Link._report
    correlations: dict[BatchKey, bytes] = {}

    def remembering(self: Link, key: BatchKey, topic: str, payload: bytes, correlation: bytes) -> None:
        correlations[key] = correlation
        publish(self, key, topic, payload, correlation)

    def believing(self: Link, key: BatchKey, code: Any) -> None:
        listener = self._listener
        if not code.value and isinstance(listener, Publisher):
            done: Callable[[], None] = lambda: listener.done(key)  # noqa: E731
            listener._outbox.decide(key, correlations[key], "stored", (), done)
        report(self, key, code)

    Link.publish, Link._report = remembering, believing  # type: ignore[method-assign]  # it is replaced on purpose


def repeats_are_new() -> None:
    """Have the worker take an older repeat without `sent_at` for a new batch: it undoes corrections."""

    def first(_self: FirstSeenTimes, seen: Sequence[Seen]) -> list[int]:
        return [each.received_us for each in seen]

    FirstSeenTimes.first = first  # type: ignore[assignment,method-assign]  # it is replaced on purpose
    PartitionFirstSeen.first = first  # type: ignore[assignment,method-assign]


def no_fence() -> None:
    """Have a worker write a partition that another one has taken over."""
    writer._FENCE = "UPDATE fences SET transactions = transactions + 1 WHERE partition = %s AND %s > 0"


def fence_only_read() -> None:
    """Have a worker look at the fence and not write it: a partition may be taken over between that and the commit."""
    writer._FENCE = "SELECT FROM fences WHERE partition = %s AND epoch = %s"


def epoch_not_raised() -> None:
    """Have a worker that takes a partition over leave the epoch as it is."""
    writer._TAKE = writer._TAKE.replace("f.epoch + 1", "f.epoch")


FAULTS: dict[str, Callable[[], None]] = {
    "acknowledge-first": acknowledge_first,
    "gone-at-puback": gone_at_puback,
    "repeats-are-new": repeats_are_new,
    "no-fence": no_fence,
    "fence-only-read": fence_only_read,
    "epoch-not-raised": epoch_not_raised,
}
IN_GATEWAY = {"gone-at-puback"}
"""The others are in the worker."""


if __name__ == "__main__":
    FAULTS[sys.argv[1]]()
    runpy.run_module(sys.argv[2], run_name="__main__", alter_sys=True)
