"""The worker's metrics and readiness checks."""

import logging
import time
from collections import Counter as CountOf
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from normalizer_worker.mqtt.broker_metrics import BrokerMetrics
from shared.http.health import Check

log = logging.getLogger(__name__)

STALLED_S = 30.0
"""A worker that has made no progress for longer than this counts as stuck."""
MAX_DEAD_IN_A_ROW = 100
"""With so many, the fault is probably ours and not the senders'."""
TRANSACTION_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LAG_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300, 3600, 86_400)


class WorkerMetrics:
    """Written by the worker's thread, read by any; those of the broker are its `broker`."""

    def __init__(self, registry: CollectorRegistry, now_s: Callable[[], float] = time.monotonic) -> None:
        """Begin at 0, and not ready; `now_s` is a monotonic clock."""
        self.broker = BrokerMetrics(registry, now_s)
        self._now_s = now_s
        self._sessions = 0
        self._connected = False
        self._standing_by = ""
        self._stored = True
        self._progress_s = now_s()
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self._messages = counter("power_worker_messages", "MQTT messages stored or kept as dead letters.")
        self._readings = counter("power_worker_readings", "Readings stored.")
        self._dead = counter("power_worker_dead_letters", "Messages that can never be stored.")
        self._dropped = counter(
            "power_worker_dead_letters_dropped",
            "Dead letters that were dropped: over their limits, or not written to the disk.",
            ["reason"],
        )
        for reason in ("bounds", "disk"):
            self._dropped.labels(reason)
        self._shed = counter(
            "power_worker_messages_shed", "Messages acknowledged and not stored: the backlog of their ship was full."
        )
        self._dead_in_a_row = 0
        self._row = gauge("power_worker_dead_letters_in_a_row", "Dead letters since a message was last stored.")
        self._receipts = counter("power_worker_receipts", "Receipts sent.", ["status"])
        for status in ("stored", "rejected"):
            self._receipts.labels(status)
        self._reconnects = counter("power_worker_reconnects", "Connections after the first.")
        histogram = partial(Histogram, registry=registry)
        self._seconds = histogram(
            "power_worker_transaction_seconds", "Duration of one store transaction.", buckets=TRANSACTION_BUCKETS_S
        )
        self._lag_s = histogram(
            "power_worker_batch_lag_seconds",
            "From a batch's sent_at, if it has one, to its arrival.",
            buckets=LAG_BUCKETS_S,
        )
        self._progress = gauge("power_worker_last_progress_timestamp_seconds", "When the worker last made progress.")

    @contextmanager
    def session(self) -> Iterator[None]:
        """Context of one connection to the broker."""
        self._reconnects.inc(1 if self._sessions else 0)
        self._sessions += 1
        self.progressed()
        self._connected, self._standing_by = True, ""
        try:
            yield
        finally:
            self._connected = False

    def standing_by(self, why: str) -> None:
        """Note that another worker is at work, and that this one waits until it is gone."""
        self._standing_by = f"standing by: {why}"

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Context of one store transaction; on an exception nothing was stored."""
        began_s = self._now_s()
        try:
            yield
        except BaseException:
            self._stored = False
            raise
        self._stored = True
        self._seconds.observe(self._now_s() - began_s)

    def stored(self, *, messages: int, readings: int, dead: int, dead_at_end: int, lags_s: Iterable[float]) -> None:
        """Count what one transaction stored; `dead_at_end` counts the dead letters after the last stored message."""
        self._dead_in_a_row = dead_at_end if dead_at_end < messages else self._dead_in_a_row + dead
        self._row.set(self._dead_in_a_row)
        self._messages.inc(messages)
        self._readings.inc(readings)
        self._dead.inc(dead)
        for lag_s in lags_s:
            self._lag_s.observe(max(lag_s, 0.0))  # a sender's clock may be ahead

    def dropped_letters(self, reason: Literal["bounds", "disk"], count: int) -> None:
        """Count dead letters that were dropped."""
        self._dropped.labels(reason).inc(count)

    def shed(self, by_ship: Mapping[int, int]) -> None:
        """Count and log messages that were not stored, by ship."""
        for ship, count in by_ship.items():
            self._shed.inc(count)
            log.warning(
                "shed %d messages of ship %d: its backlog is full; the ship must resend batches that got no receipt",
                count,
                ship,
            )

    def answered(self, statuses: Iterable[str]) -> None:
        """Count the receipts of one transaction."""
        for status, count in CountOf(statuses).items():
            self._receipts.labels(status).inc(count)

    def progressed(self) -> None:
        """Note that something was stored, or that the connection works and is quiet."""
        self._progress_s = self._now_s()
        self._progress.set_to_current_time()

    def checks(self) -> Mapping[str, Check]:
        """Return the checks that have to hold for the worker to be ready."""
        waits = {self._standing_by: lambda: False} if self._standing_by else {}
        return {
            **waits,
            "broker": lambda: self._connected,
            **self.broker.checks(),
            "store": lambda: self._stored,
            "dead_letters": lambda: self._dead_in_a_row < MAX_DEAD_IN_A_ROW,
            "progress": lambda: self._now_s() - self._progress_s <= STALLED_S,
        }
