"""What the gateway counts of its batches, and what the broker tells it."""

import math

from prometheus_client import CollectorRegistry, Counter, Gauge


class IngestMetrics:
    """Counters, and one gauge, in a registry.

    Attributes:
        batches: accepted.
        readings: in accepted batches, repeated moments included.
        refused: batches not accepted, by the status of the answer.
        publish_failures: batches that the broker did not take.
        dropped: messages that the broker has dropped since its start; no number until it tells.

    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Begin at 0."""
        self.batches = Counter("power_ingest_batches", "Batches accepted.", registry=registry)
        self.readings = Counter("power_ingest_readings", "Readings in accepted batches.", registry=registry)
        self.refused = Counter(
            "power_ingest_batches_refused", "Batches not accepted, by status.", ["status"], registry=registry
        )
        self.publish_failures = Counter(
            "power_ingest_publish_failures", "Batches that the broker did not take.", registry=registry
        )
        self.dropped = Gauge(
            "power_broker_dropped_messages", "Messages that the broker has dropped since its start.", registry=registry
        )
        self.dropped.set(math.nan)  # not known is not 0
