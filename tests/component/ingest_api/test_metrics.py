"""What the gateway counts."""

import math
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ingest_api.http.routes import routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from shared.domain.errors import Unavailable
from shared.http.app import make_app
from shared.http.tokens import anybody
from tests.support.bad_batches import reading, readings, text
from tests.support.outbox import ROOM, an_outbox
from tests.support.posting import decide, failing
from tests.support.waiting import until

UUID = "6f1c2a3e-5b7d-4c1e-9a70-0d4b5f6e7a81"


def counted(outbox: Outbox, *payloads: str, content_type: str = "application/json") -> CollectorRegistry:
    """Post batches and give what was counted."""
    registry = CollectorRegistry()
    metrics = IngestMetrics(registry)
    metrics.watch(outbox)
    sender = make_app(routes(outbox, metrics), access=anybody).test_client()
    for payload in payloads:
        sender.post("/data", data=payload, content_type=content_type)
    return registry


def test_accepted_batches_and_their_readings_are_counted(outbox: Outbox) -> None:
    registry = counted(outbox, text(), readings(reading(), reading(), reading()), text(units='"J"'))
    assert registry.get_sample_value("power_ingest_batches_total") == 2
    assert registry.get_sample_value("power_ingest_readings_total") == 4


def test_deletion_is_counted_apart_from_batches_and_once(outbox: Outbox) -> None:
    registry = CollectorRegistry()
    sender = make_app(routes(outbox, IngestMetrics(registry)), access=anybody).test_client()
    path = f"/data?spaceship_id=1&start=2024-01-01T00:00:00Z&end=2024-01-02T00:00:00Z&batch_id={UUID}"
    assert [sender.delete(path).status_code for _ in range(2)] == [202, 202]
    assert registry.get_sample_value("power_ingest_deletions_total") == 1
    assert registry.get_sample_value("power_ingest_batches_total") == 0


def test_a_repeat_is_counted_once(outbox: Outbox) -> None:
    registry = counted(outbox, *[text(batch_id=f'"{UUID}"')] * 3)
    assert registry.get_sample_value("power_ingest_batches_total") == 1


@pytest.mark.parametrize(
    ("payload", "content_type", "status"),
    [("{", "application/json", "400"), (text(), "text/html", "415"), ("{}", "application/json", "422")],
)
def test_refused_batches_are_counted_by_status(
    outbox: Outbox,
    payload: str,
    content_type: str,
    status: str,
) -> None:
    registry = counted(outbox, payload, content_type=content_type)
    assert registry.get_sample_value("power_ingest_batches_refused_total", {"status": status}) == 1
    assert registry.get_sample_value("power_ingest_batches_total") == 0
    assert registry.get_sample_value("power_ingest_outbox_failures_total") == 0


def test_what_the_worker_rejects_was_accepted_and_is_not_counted_as_refused(outbox: Outbox) -> None:
    """The worker counts it: `power_worker_receipts_total`. Its sender gets 422 all the same."""
    registry = CollectorRegistry()
    sender = make_app(routes(outbox, IngestMetrics(registry)), access=anybody).test_client()
    payload = text(batch_id=f'"{UUID}"')
    sender.post("/data", data=payload)
    decide(outbox, "rejected")
    assert sender.post("/data", data=payload).status_code == 422
    assert registry.get_sample_value("power_ingest_batches_refused_total", {"status": "422"}) is None
    assert registry.get_sample_value("power_ingest_batches_total") == 1


def test_a_question_for_what_nobody_knows_is_no_refused_batch(outbox: Outbox) -> None:
    registry = CollectorRegistry()
    asking = make_app(routes(outbox, IngestMetrics(registry)), access=anybody).test_client()
    assert asking.get(f"/batches/{UUID}").status_code == 404
    assert registry.get_sample_value("power_ingest_batches_refused_total", {"status": "404"}) is None


def test_what_cannot_be_kept_is_counted(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = counted(failing(outbox, Unavailable("full"), monkeypatch), text())
    assert registry.get_sample_value("power_ingest_outbox_failures_total") == 1
    assert registry.get_sample_value("power_ingest_batches_refused_total", {"status": "503"}) == 1
    assert registry.get_sample_value("power_ingest_batches_total") == 0


def test_what_a_full_quota_keeps_out_is_counted_and_the_log_says_whose(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with an_outbox(tmp_path) as outbox:
        outbox._usage.max_sender_bytes = 1
        registry = counted(outbox, text(spaceship_id="42"))
    assert registry.get_sample_value("power_ingest_quota_refusals_total") == 1
    assert registry.get_sample_value("power_ingest_outbox_failures_total") == 1
    assert registry.get_sample_value("power_ingest_batches_refused_total", {"status": "503"}) == 1
    assert "the quota of ship 42 is used up" in caplog.text


def test_what_waits_is_told_and_for_how_long(outbox: Outbox) -> None:
    registry = counted(outbox, text(), text())
    assert registry.get_sample_value("power_outbox_batches") == 2
    assert registry.get_sample_value("power_outbox_bytes") == outbox.size_bytes > 2 * len(text())
    assert registry.get_sample_value("power_outbox_max_bytes") == ROOM
    first = registry.get_sample_value("power_outbox_oldest_seconds") or 0
    until(lambda: (registry.get_sample_value("power_outbox_oldest_seconds") or 0) > first, "it gets older")


def test_an_outbox_that_cannot_be_read_costs_no_other_metric(
    outbox: Outbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = counted(outbox, text())

    def oldest_s() -> float:
        raise Unavailable("the disk is away")

    monkeypatch.setattr(outbox, "oldest_s", oldest_s)
    assert math.isnan(registry.get_sample_value("power_outbox_oldest_seconds") or 0)
    assert registry.get_sample_value("power_ingest_batches_total") == 1
