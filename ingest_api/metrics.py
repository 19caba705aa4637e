"""What the gateway counts of its batches, and what the broker tells it."""

import math

from prometheus_client import CollectorRegistry, Counter, Gauge

from ingest_api.outbox.outbox import Outbox
from shared.domain.errors import Unavailable


class IngestMetrics:
    """Counters and gauges in a registry.

    Attributes:
        batches: accepted; a repeat counts once.
        readings: in accepted batches, repeated moments included.
        refused: batches not accepted, by the status of the answer; what a worker rejects later is none of them.
        outbox_failures: batches that the outbox did not take.
        quota_refusals: those of them that it did not take because their sender's quota was full.
        dropped: messages that the broker has dropped since its start; no number until it tells.

    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Begin at 0."""
        self.batches = Counter("power_ingest_batches", "Batches accepted.", registry=registry)
        self.readings = Counter("power_ingest_readings", "Readings in accepted batches.", registry=registry)
        self.refused = Counter(
            "power_ingest_batches_refused", "Batches not accepted, by status.", ["status"], registry=registry
        )
        self.outbox_failures = Counter(
            "power_ingest_outbox_failures", "Batches that the outbox did not take.", registry=registry
        )
        self.quota_refusals = Counter(
            "power_ingest_quota_refusals",
            "Batches that the outbox did not take, because their sender's quota was full.",
            registry=registry,
        )
        self.dropped = Gauge(
            "power_broker_dropped_messages", "Messages that the broker has dropped since its start.", registry=registry
        )
        self.dropped.set(math.nan)  # not known is not 0
        self._waiting = Gauge("power_outbox_batches", "Batches accepted and not known to be stored.", registry=registry)
        self._bytes = Gauge("power_outbox_bytes", "Bytes that these have.", registry=registry)
        self._max_bytes = Gauge("power_outbox_max_bytes", "Bytes that these may have.", registry=registry)
        self._oldest_s = Gauge(
            "power_outbox_oldest_seconds", "How long the oldest has been waiting.", registry=registry
        )

    def watch(self, outbox: Outbox) -> None:
        """Tell of an outbox whenever somebody asks."""
        self._waiting.set_function(lambda: outbox.depth)
        self._bytes.set_function(lambda: outbox.size_bytes)
        self._max_bytes.set(outbox.max_bytes)
        self._oldest_s.set_function(lambda: _oldest_s(outbox))


def _oldest_s(outbox: Outbox) -> float:
    try:
        return outbox.oldest_s()
    except Unavailable:  # an error would cost all the other metrics, too
        return math.nan
