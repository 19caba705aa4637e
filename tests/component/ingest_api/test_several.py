"""POST /data with several batches: all of them are accepted or none, and each is answered for."""

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry
from werkzeug.test import TestResponse

from ingest_api.http.routes import routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.entry import ENTRY_BYTES, WaitingEntry
from ingest_api.outbox.outbox import Outbox
from shared.contract.limits import SMALL_BYTES
from shared.contract.status import BatchKey, already_used
from shared.domain.errors import Problem, Unavailable
from shared.domain.timestamps import moment_us
from shared.http.app import make_app
from shared.http.tokens import access, anybody
from tests.support.bad_batches import SHIP, reading, readings, text
from tests.support.outbox import an_outbox
from tests.support.posting import decide, kept, problem
from tests.support.tokens import bearer, token
from tests.support.waiting import until

NAMES = [f"6f1c2a3e-5b7d-4c1e-9a70-0d4b5f6e7a8{i}" for i in range(4)]
LINES = "application/x-ndjson"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def app(outbox: Outbox, registry: CollectorRegistry) -> Flask:
    return make_app(routes(outbox, IngestMetrics(registry)), access=anybody)


def array(*batches: str) -> tuple[str, str]:
    return "application/json", f"[{', '.join(batches)}]"


def lines(*batches: str) -> tuple[str, str]:
    return LINES, "".join(f"{each}\n" for each in batches)


def post(app: Flask, body: tuple[str, str | bytes], **headers: str) -> TestResponse:
    return app.test_client().post("/data", data=body[1], headers={"Content-Type": body[0], **headers})


def named(number: int, **members: str) -> str:
    return text(batch_id=f'"{NAMES[number]}"', **members)


def answered(response: TestResponse) -> list[dict[str, Any]]:
    """Return what is said of each batch."""
    assert response.json is not None
    return list(response.json["batches"])


@pytest.mark.parametrize("several", [array, lines])
def test_all_are_kept_and_the_answer_lists_them(app: Flask, outbox: Outbox, several: Callable[..., Any]) -> None:
    """In their order: each has a `batch_id` of its own, and of two the later in the body is the later sent."""
    body = several(named(0), text(spaceship_id="1"), readings(reading(), reading(value="2")))
    response = post(app, body)
    assert (response.status_code, "Location" in response.headers) == (202, False)
    assert response.json is not None
    assert (response.json["status"], response.json["readings"]) == ("accepted", 4)
    found = answered(response)
    assert found[0] == {"batch_id": NAMES[0], "status": "accepted", "readings": 1}
    assert [each["readings"] for each in found] == [1, 1, 2]
    waiting = [(ship, json.loads(payload)) for ship, payload in kept(outbox)]
    assert [ship for ship, _ in waiting] == [SHIP, 1, SHIP]
    assert [each["batch_id"] for _, each in waiting] == [each["batch_id"] for each in found]
    sent = [moment_us(each["accepted_at"]) for _, each in waiting]
    assert sent == sorted(set(sent))
    for each in found:
        assert app.test_client().get(f"/batches/{each['batch_id']}").json["status"] == "accepted"  # type: ignore[index]


def test_an_array_of_one_is_several_too(app: Flask) -> None:
    """A client need not look how many it sends."""
    assert len(answered(post(app, array(text())))) == 1


@pytest.mark.parametrize("several", [array, lines])
def test_packed_and_large_ones_are_taken(app: Flask, outbox: Outbox, several: Callable[..., Any]) -> None:
    kind, body = several(*[text(note=f'"{"x" * SMALL_BYTES}"')] * 3)
    response = post(app, (kind, gzip.compress(body.encode())), **{"Content-Encoding": "gzip"})
    assert (response.status_code, len(kept(outbox))) == (202, 3)


@pytest.mark.parametrize(
    ("body", "status", "at"),
    [
        (array(text(), readings(reading(), reading(value="-1"))), 422, ["[1].data[1].value"]),
        (lines(text(), readings(reading(), reading(value="-1"))), 422, ["line 2: data[1].value"]),
        (lines(text(), text()[:-1]), 400, ["line 2"]),
        (array(text(), text()[:-1]), 400, ["body"]),
        (array(), 422, ["body"]),
        (lines(), 422, ["body"]),
        (array(text(), f"[{text()}]"), 422, ["[1]"]),
        (lines(text(), f"[{text()}]"), 422, ["line 2"]),
        (("text/csv", f"[{text()}]"), 415, ["Content-Type"]),
    ],
)
def test_with_a_bad_batch_nothing_is_kept(
    app: Flask, outbox: Outbox, body: tuple[str, str], status: int, at: list[str]
) -> None:
    """The error says which it is."""
    response = post(app, body)
    assert response.status_code == status
    assert [each["at"] for each in problem(response)["errors"]] == at
    assert kept(outbox) == []


def test_a_token_has_to_be_for_every_ship(outbox: Outbox) -> None:
    tokens = (token("own-ship", "ingest", SHIP), token("fleet", "ingest"))
    app = make_app(routes(outbox, IngestMetrics(CollectorRegistry())), access=lambda each: access(tokens, each))
    body = array(text(), text(spaceship_id="5"))
    assert post(app, body, **bearer("own-ship")).status_code == 403
    assert kept(outbox) == []
    assert post(app, body, **bearer("fleet")).status_code == 202


@pytest.mark.parametrize("several", [array, lines])
def test_a_conflict_of_one_refuses_all(app: Flask, outbox: Outbox, several: Callable[..., Any]) -> None:
    """With a batch that is known, or with one before it in the body; entries numbered later are published as ever."""
    assert post(app, ("application/json", named(1))).status_code == 202
    place = {array: "[2].batch_id", lines: "line 3: batch_id"}[several]
    for first in (1, 2):
        response = post(app, several(named(0), named(2), named(first, units='"kWh"'), named(3)))
        assert response.status_code == 409
        assert [each["at"] for each in problem(response)["errors"]] == [place]
        assert len(kept(outbox)) == 1
        for name in (0, 2, 3):
            assert outbox.status(UUID(NAMES[name])) is None
    size = outbox.size_bytes
    assert post(app, several(named(0), named(2))).status_code == 202
    assert [json.loads(payload)["batch_id"] for _, payload in kept(outbox)] == [NAMES[i] for i in (1, 0, 2)]
    assert outbox.size_bytes == size * 3


def test_a_repeat_gets_the_same_answer(app: Flask, outbox: Outbox, registry: CollectorRegistry) -> None:
    """All of it, a part of it beside new ones, and one twice in a body."""
    first = post(app, array(named(0), named(1)))
    assert post(app, array(named(0), named(1))).json == first.json
    again = answered(post(app, lines(named(1), named(2), named(2))))
    assert [each["batch_id"] for each in again] == [NAMES[i] for i in (1, 2, 2)]
    assert len(kept(outbox)) == outbox.depth == 3
    assert registry.get_sample_value("power_ingest_batches_total") == 3
    assert registry.get_sample_value("power_ingest_readings_total") == 3
    decide(outbox)
    assert (outbox.depth, outbox.size_bytes) == (0, 0)


def test_what_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    """Afterwards as much fits as before."""
    with an_outbox(tmp_path, 5 * ENTRY_BYTES) as outbox:
        app = make_app(routes(outbox, IngestMetrics(CollectorRegistry())), access=anybody)
        assert post(app, array(text(), text(), text())).status_code == 503
        assert (outbox.depth, outbox.size_bytes) == (0, 0)
        assert post(app, array(text(), text())).status_code == 202
        size = outbox.size_bytes
        assert post(app, array(text(), text())).status_code == 503
        assert (outbox.depth, outbox.size_bytes) == (2, size)


def test_a_full_disk_accepts_none(app: Flask, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest_api.outbox.writers.has_disk_for", lambda *_: False)
    assert post(app, array(text(), text())).status_code == 503
    assert (outbox.depth, outbox.size_bytes, kept(outbox)) == (0, 0, [])


@pytest.fixture
def worker(outbox: Outbox) -> Iterator[list[str]]:
    """One that decides the first entries, as the list says, as soon as somebody waits."""
    statuses, ends = ["stored"], threading.Event()

    def run() -> None:
        while not ends.wait(0.005):
            if outbox._waiters._waiting:
                for entry in outbox.waiting(0, 100, 1 << 30):
                    if entry.number <= len(statuses):
                        tell(entry, statuses[entry.number - 1])

    def tell(entry: WaitingEntry, status: Any) -> None:
        done = threading.Event()
        why = (Problem("data[0].value", "is odd"),) if status == "rejected" else ()
        outbox.decide(entry.key, entry.digest, status, why, done.set)
        assert done.wait(20)

    thread = threading.Thread(target=run)
    thread.start()
    yield statuses
    ends.set()
    thread.join()


def test_who_waits_is_answered_when_all_are_stored(app: Flask, worker: list[str]) -> None:
    worker[:] = ["stored"] * 3
    response = post(app, array(text(), text(), text()), Prefer="wait=20")
    assert (response.status_code, response.headers["Preference-Applied"]) == (201, "wait=20")
    assert response.json is not None
    assert response.json["status"] == "stored"
    assert [each["status"] for each in answered(response)] == ["stored"] * 3


def test_after_the_time_the_answer_says_which_are_stored(app: Flask, worker: list[str], outbox: Outbox) -> None:
    worker[:] = ["stored"]
    response = post(app, array(named(0), named(1, note="1")), Prefer="wait=1")
    assert response.status_code == 202
    stored = {each["batch_id"]: each["status"] for each in answered(response)}
    until(lambda: outbox.await_decision(BatchKey(SHIP, NAMES[1]), 1) is not None, "the other one")
    assert stored[NAMES[0]] == "stored"


def test_a_rejected_one_is_named_beside_those_that_are_stored(
    app: Flask, worker: list[str], registry: CollectorRegistry
) -> None:
    """They are accepted all the same: the answer says what became of each, and no refusal is counted."""
    worker[:] = ["stored", "rejected", "stored"]
    response = post(app, lines(named(0), named(1), named(2)), Prefer="wait=20")
    assert response.status_code == 422
    said = problem(response)
    assert said["errors"] == [{"at": "line 2: data[0].value", "problem": "is odd"}]
    assert said["detail"] == "1 of 3 batches rejected"
    assert [each["status"] for each in said["batches"]] == ["stored", "rejected", "stored"]
    assert registry.get_sample_value("power_ingest_batches_refused_total", {"status": "422"}) is None


def test_batch_ids_that_another_gateway_has_are_409_unless_something_else_is_wrong(app: Flask, outbox: Outbox) -> None:
    body = lines(named(0), named(1), named(2))
    post(app, body)
    odd, used = (Problem("units", "are odd"),), already_used(UUID(NAMES[1])).problems
    for number, why in enumerate([(), used, odd]):
        (entry,) = outbox.waiting(number, 1, 1 << 30)
        done = threading.Event()
        outbox.decide(entry.key, entry.digest, "rejected" if why else "stored", why, done.set)
        assert done.wait(20)
    response = post(app, lines(named(0), named(1)))
    assert response.status_code == 409
    assert problem(response)["errors"] == [{"at": "line 2: batch_id", "problem": used[0].problem}]
    assert [each["status"] for each in problem(response)["batches"]] == ["stored", "rejected"]
    assert post(app, body).status_code == 422


def test_while_the_status_cannot_be_read_they_are_accepted(
    app: Flask, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise Unavailable("locked")

    monkeypatch.setattr(outbox, "await_decision", fails)
    assert post(app, array(text(), text()), Prefer="wait=20").status_code == 202
