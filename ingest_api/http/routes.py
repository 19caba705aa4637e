"""The gateway's routes: POST and DELETE /data, PUT /ships/{spaceship_id}/covariates, and GET /batches/{batch_id}."""

import logging
import re
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from flask import Response, g, jsonify, request
from prometheus_client import Counter
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import NotFound

from ingest_api.http.body import Room, is_ndjson
from ingest_api.http.intake import Intake
from ingest_api.http.schemas import ACCEPT, DELETE, PUT_COVARIATES, STATUS, DeletionParameters, ShipPath
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.capacity import QuotaFull
from ingest_api.outbox.entry import Entry
from shared.contract.acceptance import Rules
from shared.contract.batches import at, is_array
from shared.contract.limits import MAX_WAIT_S
from shared.contract.status import BatchKey, BatchStatus
from shared.domain.errors import MAX_PROBLEMS, InvalidInput, Problem, Unavailable
from shared.http.app import Routes, caller, problem
from shared.http.parameters import parse
from shared.http.places import Places
from shared.http.tokens import Access

log = logging.getLogger(__name__)

BAD_REQUEST = 400
CONFLICT = 409
WAITERS = 16
"""How many requests may wait for a receipt at a time: fewer than there are threads."""
SENDER_WAITERS = WAITERS // 2
"""How many of one sender."""
_WAIT = re.compile(r"(?:^|,)\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.ASCII | re.IGNORECASE)


_PlacedStatus = tuple[str, BatchStatus]
"""The place of a batch in its body, and its status."""


class _Wait(NamedTuple):
    """For how long a request waits for receipts.

    Attributes:
        preferred_s: as the sender prefers; None where it does not say.
        conflict_s: where it does not say; None where its batches cannot be in conflict with another gateway's.

    """

    preferred_s: int | None
    conflict_s: float | None

    @property
    def longest_s(self) -> float | None:
        """How long it waits; None where it does not."""
        return self.conflict_s if self.preferred_s is None else self.preferred_s


class Acceptor(Protocol):
    """Accepts batches: the outbox, and in benchmarks a broker."""

    def accept(self, entry: Entry) -> tuple[BatchStatus, bool]:
        """Accept a batch; return its status, and whether it is new."""

    def accept_all(self, entries: Sequence[Entry]) -> list[tuple[BatchStatus, bool]]:
        """Accept all of these batches or none; return for each what `accept` returns."""

    def status(self, batch_id: UUID, access: Access) -> BatchStatus | None:
        """Return the status of a batch; None where it is unknown, or of a ship that `access` does not include."""

    def await_decision(self, key: BatchKey, wait_s: float) -> BatchStatus | None:
        """Wait until a batch is stored or rejected, for at most `wait_s`; return its status."""


def routes(
    outbox: Acceptor, metrics: IngestMetrics, rules: Rules | None = None, *, conflict_wait_s: float | None = None
) -> Routes:
    """Build the routes.

    Args:
        outbox: accepts the batches.
        metrics: count them.
        rules: say which readings are accepted, by default the usual ones.
        conflict_wait_s: for how long the receipt of a batch with the sender's own `batch_id` is awaited before 202 is
            answered: another gateway may have accepted other content under it, which only the worker knows.

    """
    routes = Routes("ingest_api", __name__, needs="ingest")
    room, intake, waiters = Room(), Intake(rules or Rules()), Places(WAITERS, SENDER_WAITERS)

    @routes.serves(ACCEPT)
    def accept() -> Response:
        accepted, wait = read_and_accept()
        # Now the body is no longer in memory.
        if isinstance(accepted, BatchStatus):
            return _answer_in_time(outbox, waiters, accepted, wait)
        return _answer_all_in_time(outbox, waiters, accepted, wait)

    def read_and_accept() -> tuple[BatchStatus | list[_PlacedStatus], _Wait]:
        with room.body(request) as payload:
            read = intake.entries if is_ndjson(request) or is_array(payload) else intake.entry
            found = read(payload, caller())
            del payload
            if isinstance(found, Entry):
                return _accepted(outbox, metrics, found, metrics.batches), _wait_for([found], conflict_wait_s)
            return _all_accepted(outbox, metrics, found), _wait_for(found, conflict_wait_s)

    @routes.serves(DELETE)
    def delete() -> Response:
        entry = intake.deletion(parse(DeletionParameters, request.args), caller())
        wait = _wait_for([entry], conflict_wait_s)
        return _answer_in_time(outbox, waiters, _accepted(outbox, metrics, entry, metrics.deletions), wait)

    @routes.serves(PUT_COVARIATES)
    def put_covariates(spaceship_id: str) -> Response:
        ship = parse(ShipPath, MultiDict({"spaceship_id": spaceship_id})).spaceship_id
        with room.body(request) as payload:
            entry = intake.covariates(payload, ship, caller())
            accepted, wait = _accepted(outbox, metrics, entry, metrics.covariates), _wait_for([entry], conflict_wait_s)
            del payload, entry
        return _answer_in_time(outbox, waiters, accepted, wait)

    @routes.serves(STATUS)
    def status(batch_id: str) -> Response:
        batch = outbox.status(_id_of(batch_id), caller())
        if batch is None:
            raise NotFound("No batch with that batch_id is known; the status of a batch is kept for two days.")
        return jsonify({**_summary(batch), "spaceship_id": batch.ship, "errors": _errors(batch)})

    routes.after_request(partial(_count_refusal, metrics))
    return routes


def _count_refusal(metrics: IngestMetrics, response: Response) -> Response:
    was_accepted = "is_accepted" in g  # a batch that the worker rejected was accepted
    if request.method in {"POST", "DELETE", "PUT"} and response.status_code >= BAD_REQUEST and not was_accepted:
        metrics.refused.labels(str(response.status_code)).inc()
    return response


def _id_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput("invalid batch_id", (Problem("batch_id", "should be a UUID"),)) from None


def _accepted(outbox: Acceptor, metrics: IngestMetrics, entry: Entry, counter: Counter) -> BatchStatus:
    with metrics.outbox_failures.count_exceptions(Unavailable), metrics.quota_refusals.count_exceptions(QuotaFull):
        batch, is_new = outbox.accept(entry)
    g.is_accepted = True
    if is_new:
        counter.inc()
        metrics.readings.inc(entry.readings)
    return batch


def _all_accepted(outbox: Acceptor, metrics: IngestMetrics, entries: list[Entry]) -> list[_PlacedStatus]:
    with metrics.outbox_failures.count_exceptions(Unavailable), metrics.quota_refusals.count_exceptions(QuotaFull):
        found = outbox.accept_all(entries)
    g.is_accepted = True
    new = [entry for entry, (_, is_new) in zip(entries, found, strict=True) if is_new]
    metrics.batches.inc(len(new))
    metrics.readings.inc(sum(each.readings for each in new))
    return [(entry.place, batch) for entry, (batch, _) in zip(entries, found, strict=True)]


def _answer_in_time(outbox: Acceptor, waiters: Places, batch: BatchStatus, wait: _Wait) -> Response:
    """Answer a POST, DELETE or PUT, at once or when the batch is stored or rejected."""
    wait_s = wait.longest_s
    if wait_s is None or batch.status != "accepted":
        return _answer(batch, wait.preferred_s)
    sender = caller().sender(batch.ship)
    if not waiters.take(sender):
        return _answer(batch, None)
    try:
        found = outbox.await_decision(batch.key, wait_s)
    except Unavailable as error:  # not a 503: the batch is accepted
        log.warning("the status of batch %s cannot be read now: %s", batch.batch_id, error)
        found = None
    finally:
        waiters.give_back(sender)
    return _answer(found or batch, wait.preferred_s)


def _answer_all_in_time(outbox: Acceptor, waiters: Places, batches: list[_PlacedStatus], wait: _Wait) -> Response:
    """Answer a POST of several batches, at once or when all of them are stored or rejected."""
    wait_s = wait.longest_s
    if wait_s is None or all(batch.status != "accepted" for _, batch in batches):
        return _answer_all(batches, wait.preferred_s)
    sender = caller().sender(batches[0][1].ship)
    if not waiters.take(sender):
        return _answer_all(batches, None)
    until_s = time.monotonic() + wait_s
    try:
        batches = [(place, _decided(outbox, batch, until_s)) for place, batch in batches]
    except Unavailable as error:
        log.warning("the status of %d batches cannot be read now: %s", len(batches), error)
    finally:
        waiters.give_back(sender)
    return _answer_all(batches, wait.preferred_s)


def _decided(outbox: Acceptor, batch: BatchStatus, until_s: float) -> BatchStatus:
    if batch.status != "accepted":
        return batch
    return outbox.await_decision(batch.key, max(until_s - time.monotonic(), 0)) or batch


def _wait_for(entries: Sequence[Entry], conflict_wait_s: float | None) -> _Wait:
    return _Wait(_preferred_wait_s(), conflict_wait_s if any(each.is_named for each in entries) else None)


def _preferred_wait_s() -> int | None:
    """Return for how long the sender may wait for the receipt; None where it does not ask for that."""
    preferred = request.environ.get("HTTP_PREFER")  # of several headers: joined by commas
    wait = _WAIT.search(preferred) if preferred else None
    return None if wait is None else min(int(wait[1]), MAX_WAIT_S)


def _answer(batch: BatchStatus, waited_s: int | None) -> Response:
    headers = {"Location": f"/batches/{batch.batch_id}"}
    if waited_s is not None:
        headers["Preference-Applied"] = f"wait={waited_s}"
    if (conflict := batch.conflict) is not None:
        return problem(CONFLICT, conflict.summary, batch.problems, headers)
    if batch.status == "rejected":
        return problem(422, "the batch was rejected", batch.problems, headers)
    is_stored = batch.status == "stored" and waited_s is not None
    response = jsonify({**_summary(batch), "status": "stored" if is_stored else "accepted"})
    response.status_code = 201 if is_stored else 202
    response.headers.update(headers)
    return response


def _answer_all(batches: list[_PlacedStatus], waited_s: int | None) -> Response:
    headers = {} if waited_s is None else {"Preference-Applied": f"wait={waited_s}"}
    every = [batch for _, batch in batches]
    rejected = [batch for batch in every if batch.status == "rejected"]
    if rejected:
        status = CONFLICT if all(batch.conflict for batch in rejected) else 422
        faults = tuple(_placed_problems(batches))[:MAX_PROBLEMS]
        summaries = [_summary(batch) for batch in every]
        return problem(status, f"{len(rejected)} of {len(every)} batches rejected", faults, headers, batches=summaries)
    is_stored = waited_s is not None and all(batch.status == "stored" for batch in every)
    response = jsonify(
        status="stored" if is_stored else "accepted",
        readings=sum(batch.readings for batch in every),
        batches=[_summary(batch) for batch in every],
    )
    response.status_code = 201 if is_stored else 202
    response.headers.update(headers)
    return response


def _placed_problems(batches: list[_PlacedStatus]) -> Iterator[Problem]:
    return (
        Problem(at(place, "batch_id" if batch.conflict else each.at), each.problem)
        for place, batch in batches
        for each in batch.problems
    )


def _summary(batch: BatchStatus) -> dict[str, Any]:
    summary = {"batch_id": str(batch.batch_id), "status": batch.status, "readings": batch.readings}
    return summary | ({"superseded": batch.superseded} if batch.superseded else {})


def _errors(batch: BatchStatus) -> list[dict[str, str]]:
    return [{"at": each.at, "problem": each.problem} for each in batch.problems]
