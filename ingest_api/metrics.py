"""The gateway's metrics."""

import math
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from ingest_api.outbox.outbox import Outbox
from shared.domain.errors import Unavailable


class IngestMetrics:
    """Counters and gauges in a registry.

    Attributes:
        batches: accepted batches; duplicates do not count.
        deletions: accepted deletions; repeats do not count.
        covariates: accepted tables of covariates; repeats do not count.
        readings: readings in accepted batches; readings with the same timestamp count each.
        refused: batches that were not accepted, by the status of the answer; not those that a worker rejects later.
        outbox_failures: batches that the outbox did not accept.
        quota_refusals: those of them that it did not accept because the sender's quota was full.
        dropped: messages that the broker has dropped since its start; not a number until the broker says it.

    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them, at 0."""
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.batches = counter("power_ingest_batches", "Batches accepted.")
        self.deletions = counter("power_ingest_deletions", "Deletions accepted.")
        self.covariates = counter("power_ingest_covariates", "Tables of covariates accepted.")
        self.readings = counter("power_ingest_readings", "Readings in accepted batches.")
        self.refused = counter("power_ingest_batches_refused", "Batches not accepted, by status.", ["status"])
        self.outbox_failures = counter("power_ingest_outbox_failures", "Batches that the outbox did not accept.")
        self.quota_refusals = counter(
            "power_ingest_quota_refusals",
            "Batches that the outbox did not accept because the sender's quota was full.",
        )
        self.dropped = gauge("power_broker_dropped_messages", "Messages that the broker has dropped since its start.")
        self.dropped.set(math.nan)  # unknown, not 0
        self._waiting = gauge("power_outbox_batches", "Accepted batches without a receipt.")
        self._bytes = gauge("power_outbox_bytes", "Size of the accepted batches without a receipt.")
        self._max_bytes = gauge(
            "power_outbox_max_bytes", "Largest allowed size of the accepted batches without a receipt."
        )
        self._oldest_s = gauge(
            "power_outbox_oldest_seconds", "How long the oldest batch has been waiting for its receipt."
        )

    def watch(self, outbox: Outbox) -> None:
        """Read an outbox's figures at each scrape."""
        self._waiting.set_function(lambda: outbox.depth)
        self._bytes.set_function(lambda: outbox.size_bytes)
        self._max_bytes.set(outbox.max_bytes)
        self._oldest_s.set_function(lambda: _oldest_s(outbox))


def _oldest_s(outbox: Outbox) -> float:
    try:
        return outbox.oldest_s()
    except Unavailable:  # an error would fail the whole scrape
        return math.nan
