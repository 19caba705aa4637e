"""The gateway's HTTP interface: POST /data."""

from threading import BoundedSemaphore
from uuid import uuid4

from flask import Response, jsonify, request

from ingest_api import body
from ingest_api.metrics import IngestMetrics
from ingest_api.publisher import Publisher
from shared.batch import decode
from shared.clock import StrictClock
from shared.errors import Unavailable
from shared.http import Routes, caller
from shared.moments import iso
from shared.topics import readings_topic

BAD_REQUEST = 400
DECODERS = 4
"""How many batches are decoded at a time: one of full size takes some 50 MB for it, and more at once are no quicker."""


def routes(publisher: Publisher, metrics: IngestMetrics, *, allow_negative: bool = False) -> Routes:
    """Build the routes.

    Args:
        publisher: where accepted batches go.
        metrics: where they are counted.
        allow_negative: take values below 0.

    """
    routes = Routes("ingest_api", __name__, needs="ingest")
    clock = StrictClock()
    decoders = BoundedSemaphore(DECODERS)

    @routes.post("/data")
    def accept() -> tuple[Response, int]:
        payload = body.read(request)
        with decoders:
            batch = decode(payload, allow_negative=allow_negative)
        caller().check_ship(batch.ship)
        batch_id = batch.batch_id or uuid4()
        added = {} if batch.batch_id else {"batch_id": str(batch_id)}
        if batch.sent_at_us is None:
            added["sent_at"] = iso(clock.now_us())
        with metrics.publish_failures.count_exceptions(Unavailable):
            publisher.publish(readings_topic(batch.ship), _with_members(payload, added))
        metrics.batches.inc()
        metrics.readings.inc(batch.received)
        return jsonify(batch_id=str(batch_id), status="accepted", readings=batch.received), 202

    @routes.after_request
    def count_refusal(response: Response) -> Response:
        if response.status_code >= BAD_REQUEST:
            metrics.refused.labels(str(response.status_code)).inc()
        return response

    return routes


def _with_members(payload: bytes, members: dict[str, str]) -> bytes:
    """Add members to the end of a JSON object that is not empty; of two of one name the last counts."""
    added = "".join(f', "{name}": "{value}"' for name, value in members.items())
    return payload[: payload.rindex(b"}")] + added.encode() + b"}"
