"""The metrics that several routes count in."""

from prometheus_client import CollectorRegistry, Counter


def store_errors(registry: CollectorRegistry) -> Counter:
    """Return a new counter of queries that failed because the store was `Unavailable`."""
    return Counter("power_query_store_errors", "Queries that the store did not answer.", registry=registry)
