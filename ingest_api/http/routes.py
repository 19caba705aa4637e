"""The gateway's HTTP interface: POST /data and GET /batches/{batch_id}."""

import logging
import re
from typing import Any, Protocol
from uuid import UUID

from flask import Response, jsonify, request
from werkzeug.exceptions import NotFound

from ingest_api.http import body
from ingest_api.http.intake import Intake
from ingest_api.http.schemas import ACCEPT, TELL
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.batch_status import BatchKey, Fate
from ingest_api.outbox.capacity import QuotaFull
from ingest_api.outbox.outbox import Entry
from shared.contract.acceptance import Rules
from shared.domain.errors import InvalidInput, Problem, Unavailable
from shared.http.app import Routes, caller, problem
from shared.http.places import Places
from shared.http.tokens import Access

log = logging.getLogger(__name__)

BAD_REQUEST = 400
WAITERS = 16
"""How many requests may wait for a receipt at a time: fewer than there are threads to answer the others."""
SENDER_WAITERS = WAITERS // 2
"""How many of one sender."""
LONGEST_WAIT_S = 30
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.ASCII | re.IGNORECASE)


class Acceptor(Protocol):
    """What takes batches, as `outbox.Outbox` does."""

    def accept(self, entry: Entry) -> tuple[Fate, bool]:
        """Keep a batch; give what became of it so far, and whether it is a new one."""
        ...

    def fate(self, batch_id: UUID, access: Access) -> Fate | None:
        """Tell what became of a batch; None where nothing is known of it, or may not be known."""
        ...

    def decided(self, key: BatchKey, wait_s: float) -> Fate | None:
        """Wait for a batch to be stored or rejected, but no longer than that; tell what became of it so far."""
        ...


def routes(outbox: Acceptor, metrics: IngestMetrics, rules: Rules | None = None) -> Routes:
    """Build the routes.

    Args:
        outbox: where accepted batches go.
        metrics: where they are counted.
        rules: which readings are taken; the usual ones where they are left out.

    """
    routes = Routes("ingest_api", __name__, needs="ingest")
    room, intake, waiters = body.Room(), Intake(rules or Rules()), _Waiters(outbox)

    @routes.serves(ACCEPT)
    def accept() -> Response:
        fate = _taken()
        return waiters.answer(fate)  # by now nothing of the body is in memory any more

    def _taken() -> Fate:
        with room.body(request) as payload:
            entry = intake.entry(payload, caller())
            del payload
            return _kept(entry)

    def _kept(entry: Entry) -> Fate:
        with (
            metrics.outbox_failures.count_exceptions(Unavailable),
            metrics.quota_refusals.count_exceptions(QuotaFull),
        ):
            fate, is_new = outbox.accept(entry)
        if is_new:
            metrics.batches.inc()
            metrics.readings.inc(entry.readings)
        return fate

    @routes.serves(TELL)
    def tell(batch_id: str) -> Response:
        try:
            name = UUID(batch_id)
        except ValueError:
            raise InvalidInput("that names no batch", (Problem("batch_id", "should be a UUID"),)) from None
        fate = outbox.fate(name, caller())
        if fate is None:
            raise NotFound("No batch of that name is known; they are forgotten after two days.")
        return jsonify({**_summary(fate), "spaceship_id": fate.ship, "errors": _errors(fate)})

    @routes.after_request
    def count_refusal(response: Response) -> Response:
        was_accepted = "Location" in response.headers  # and perhaps rejected by the worker: the batch has a place
        if request.method == "POST" and response.status_code >= BAD_REQUEST and not was_accepted:
            metrics.refused.labels(str(response.status_code)).inc()
        return response

    return routes


class _Waiters:
    """Requests that wait for a receipt, as their senders prefer: only so many at a time, and so many of one sender."""

    def __init__(self, outbox: Acceptor) -> None:
        self._outbox = outbox
        self._places = Places(WAITERS, SENDER_WAITERS)

    def answer(self, fate: Fate) -> Response:
        """Answer a POST, at once or when it is decided what becomes of the batch."""
        wish_s = _wished_wait_s()
        if wish_s is None or fate.status != "accepted":
            return _answer(fate, wish_s)
        sender = caller().sender(fate.ship)
        if not self._places.take(sender):
            return _answer(fate, None)
        try:
            found = self._outbox.decided(fate.key, wish_s)
        except Unavailable as error:  # 503 would say that it is not accepted
            log.warning("what became of batch %s cannot be told now: %s", fate.batch_id, error)
            found = None
        finally:
            self._places.give_back(sender)
        return _answer(found or fate, wish_s)


def _wished_wait_s() -> int | None:
    """Tell how long the sender would like to wait for the receipt, and may; None where it says nothing of that."""
    wish = _WAIT.search(",".join(request.headers.getlist("Prefer")))
    return None if wish is None else min(int(wish[1]), LONGEST_WAIT_S)


def _answer(fate: Fate, waited_s: int | None) -> Response:
    headers = {"Location": f"/batches/{fate.batch_id}"}
    if waited_s is not None:
        headers["Preference-Applied"] = f"wait={waited_s}"
    if fate.status == "rejected":
        return problem(422, "the batch was rejected", fate.problems, headers)
    is_stored = fate.status == "stored" and waited_s is not None
    response = jsonify({**_summary(fate), "status": "stored" if is_stored else "accepted"})
    response.status_code = 201 if is_stored else 202
    response.headers.update(headers)
    return response


def _summary(fate: Fate) -> dict[str, Any]:
    return {"batch_id": str(fate.batch_id), "status": fate.status, "readings": fate.readings}


def _errors(fate: Fate) -> list[dict[str, str]]:
    return [{"at": each.at, "problem": each.problem} for each in fate.problems]
