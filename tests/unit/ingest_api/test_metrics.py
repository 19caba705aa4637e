"""What the gateway counts."""

import pytest
from prometheus_client import CollectorRegistry

from ingest_api.app import routes
from ingest_api.metrics import IngestMetrics
from shared.errors import Unavailable
from shared.http import make_app
from shared.tokens import anybody
from tests.e2e.bad_batches import reading, readings, text
from tests.unit.ingest_api.test_app import MemoryPublisher


def counted(publisher: MemoryPublisher, *payloads: str, content_type: str = "application/json") -> CollectorRegistry:
    """Post batches and give what was counted."""
    registry = CollectorRegistry()
    sender = make_app(routes(publisher, IngestMetrics(registry)), access=anybody).test_client()
    for payload in payloads:
        sender.post("/data", data=payload, content_type=content_type)
    return registry


def test_accepted_batches_and_their_readings_are_counted() -> None:
    registry = counted(MemoryPublisher(), text(), readings(reading(), reading(), reading()), text(units='"W"'))
    assert registry.get_sample_value("power_ingest_batches_total") == 2
    assert registry.get_sample_value("power_ingest_readings_total") == 4


@pytest.mark.parametrize(
    ("payload", "content_type", "status"),
    [("{", "application/json", "400"), (text(), "text/plain", "415"), ("{}", "application/json", "422")],
)
def test_refused_batches_are_counted_by_status(payload: str, content_type: str, status: str) -> None:
    registry = counted(MemoryPublisher(), payload, content_type=content_type)
    assert registry.get_sample_value("power_ingest_batches_refused_total", {"status": status}) == 1
    assert registry.get_sample_value("power_ingest_batches_total") == 0
    assert registry.get_sample_value("power_ingest_outbox_failures_total") == 0


def test_what_the_broker_does_not_take_is_counted() -> None:
    registry = counted(MemoryPublisher(Unavailable("away")), text())
    assert registry.get_sample_value("power_ingest_outbox_failures_total") == 1
    assert registry.get_sample_value("power_ingest_batches_refused_total", {"status": "503"}) == 1
    assert registry.get_sample_value("power_ingest_batches_total") == 0
