"""What the gateway counts of its batches."""

from prometheus_client import CollectorRegistry, Counter


class IngestMetrics:
    """Counters in a registry.

    Attributes:
        batches: accepted.
        readings: in accepted batches, repeated moments included.
        refused: batches not accepted, by the status of the answer.
        publish_failures: batches that the broker did not take.

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
