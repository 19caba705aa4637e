"""What became of a batch: repeats, waiting for the receipt, GET /batches/{batch_id}."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID, uuid4

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry
from werkzeug.test import TestResponse

from ingest_api.http.body import Room
from ingest_api.http.routes import SENDER_WAITERS, WAITERS, routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from shared.contract.limits import MAX_WAIT_S, SMALL_BYTES
from shared.contract.status import BatchKey, already_used
from shared.domain.errors import Problem, Unavailable
from shared.http.app import make_app
from shared.http.tokens import access, anybody
from tests.support.bad_batches import SHIP, reading, readings, text
from tests.support.posting import decide, kept, problem
from tests.support.tokens import bearer, token
from tests.support.waiting import until

NAME = "6f1c2a3e-5b7d-4c1e-9a70-0d4b5f6e7a81"
JSON = {"Content-Type": "application/json"}
TOKENS = (
    token("own-ship", "ingest", SHIP),
    token("other-ship", "ingest", SHIP + 1),
    token("fleet", "ingest"),
    token("console", "read"),
)


@pytest.fixture
def app(outbox: Outbox) -> Flask:
    return make_app(routes(outbox, IngestMetrics(CollectorRegistry())), access=anybody)


def named(**members: str) -> str:
    """Write a batch of that name."""
    return text(**{"batch_id": f'"{NAME}"', **members})


def post(app: Flask, payload: str, **headers: str) -> TestResponse:
    return app.test_client().post("/data", data=payload, headers={**JSON, **headers})


@pytest.fixture
def worker(outbox: Outbox) -> Iterator[list[str]]:
    """One that decides, as the list says, as soon as somebody waits."""
    statuses, ends = ["stored"], threading.Event()

    def run() -> None:
        while not ends.wait(0.005):
            if outbox._waiters._waiting:
                decide(outbox, statuses[0], *([Problem("units", "are odd")] if statuses[0] == "rejected" else []))

    thread = threading.Thread(target=run)
    thread.start()
    yield statuses
    ends.set()
    thread.join()


def test_an_accepted_batch_has_a_place_where_it_can_be_asked_for(app: Flask) -> None:
    response = post(app, text())
    assert response.status_code == 202
    assert response.json is not None
    assert response.headers["Location"] == f"/batches/{response.json['batch_id']}"
    found = app.test_client().get(response.headers["Location"])
    assert found.status_code == 200
    assert found.json == {**response.json, "spaceship_id": SHIP, "errors": []}


@pytest.mark.parametrize(
    "repeat",
    [
        named(),
        " " + named().replace('": ', '" :\t ') + "\n",
        named(note='"ignored"'),
        named(batch_id=f'"{NAME.upper()}"'),
        named(data=f"[{reading(value='1.0')}]"),
    ],
    ids=["the same bytes", "blanks", "members that are ignored", "capitals", "numbers"],
)
def test_a_repeat_gets_the_same_answer_however_it_is_written(
    app: Flask,
    outbox: Outbox,
    repeat: str,
) -> None:
    first, second = post(app, named()), post(app, repeat)
    assert (second.status_code, second.json) == (first.status_code, first.json)
    assert second.headers["Location"] == first.headers["Location"]
    assert len(kept(outbox)) == 1
    decide(outbox)
    third = post(app, repeat)
    assert (third.status_code, third.json) == (first.status_code, first.json)
    assert kept(outbox) == []


@pytest.mark.parametrize(
    "other",
    [
        named(units='"kWh"'),
        named(spaceship_id=str(SHIP + 1)),
        named(sent_at='"2024-01-01T00:00:00Z"'),
        readings(reading(value="2"))[:-1] + f', "batch_id": "{NAME}"}}',
        readings(reading(moment='"2024-01-01T01:00:00Z"'))[:-1] + f', "batch_id": "{NAME}"}}',
        readings(reading(), reading(moment='"2024-01-01T01:00:00Z"'))[:-1] + f', "batch_id": "{NAME}"}}',
    ],
    ids=["unit", "ship", "sent_at", "value", "moment", "one more"],
)
def test_other_content_under_the_same_name_is_409(app: Flask, outbox: Outbox, other: str) -> None:
    assert post(app, named()).status_code == 202
    response = post(app, other)
    assert response.status_code == 409
    assert NAME in problem(response)["detail"]
    assert problem(response)["errors"]
    decide(outbox)
    assert post(app, other).status_code == 409
    assert kept(outbox) == []


@pytest.mark.usefixtures("worker")
def test_who_prefers_to_wait_is_told_that_it_is_stored(app: Flask) -> None:
    response = post(app, named(), Prefer="wait=20")
    assert response.status_code == 201
    assert response.json == {"batch_id": NAME, "status": "stored", "readings": 1}
    assert response.headers["Preference-Applied"] == "wait=20"
    assert response.headers["Location"] == f"/batches/{NAME}"
    again = post(app, named(), Prefer="wait=20")
    assert (again.status_code, again.json) == (201, response.json), "a repeat need not wait"


def test_who_prefers_to_wait_is_told_why_it_is_rejected(app: Flask, worker: list[str]) -> None:
    worker[0] = "rejected"
    response = post(app, named(), Prefer="wait=20")
    assert response.status_code == 422
    assert problem(response)["errors"] == [{"at": "units", "problem": "are odd"}]
    found = app.test_client().get(f"/batches/{NAME}").json
    assert found is not None
    assert (found["status"], found["errors"]) == ("rejected", [{"at": "units", "problem": "are odd"}])
    assert post(app, named()).status_code == 422, "202 would say that it will be stored"


OTHER_GATEWAY = already_used(UUID(NAME)).problems
"""With what the worker rejects a batch whose `batch_id` another gateway has accepted for another one."""


def test_a_batch_id_that_another_gateway_has_is_409_like_one_that_is_known_here(app: Flask, outbox: Outbox) -> None:
    assert post(app, named()).status_code == 202
    known = post(app, named(units='"kWh"'))
    decide(outbox, "rejected", *OTHER_GATEWAY)
    for prefer in ({"Prefer": "wait=20"}, {}):
        response = post(app, named(), **prefer)
        assert (response.status_code, problem(response)) == (409, problem(known))
        assert response.headers["Location"] == f"/batches/{NAME}"
    found = app.test_client().get(f"/batches/{NAME}").json
    assert found is not None
    assert (found["status"], found["errors"]) == ("rejected", problem(known)["errors"])


def test_a_batch_that_was_rejected_for_its_batch_id_does_not_have_it(app: Flask, outbox: Outbox) -> None:
    """The first one, which another gateway has, may be sent here, too; it is then known here."""
    post(app, named(units='"kWh"'))
    decide(outbox, "rejected", *OTHER_GATEWAY)
    assert post(app, named()).status_code == 202
    assert len(kept(outbox)) == 1
    decide(outbox)
    assert post(app, named(), Prefer="wait=20").status_code == 201
    assert post(app, named(units='"kWh"')).status_code == 409
    assert post(app, named(spaceship_id=str(SHIP + 1))).status_code == 409


def test_a_batch_that_was_rejected_for_another_cause_has_its_batch_id(app: Flask, outbox: Outbox) -> None:
    post(app, named(units='"kWh"'))
    decide(outbox, "rejected", Problem("units", "are odd"))
    assert post(app, named()).status_code == 409
    assert kept(outbox) == []


def test_who_prefers_to_wait_is_told_that_it_is_accepted_when_the_time_is_up(app: Flask) -> None:
    response = post(app, named(), Prefer="wait=0")
    assert response.status_code == 202
    assert response.headers["Preference-Applied"] == "wait=0"


def test_what_is_accepted_is_answered_202_though_it_cannot_be_told_what_became_of_it(
    app: Flask, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """503 says that it was not accepted."""

    def decided(_key: BatchKey, _wait_s: float) -> None:
        raise Unavailable("unable to open database file")

    monkeypatch.setattr(outbox, "await_decision", decided)
    response = post(app, named(), Prefer="wait=20")
    assert (response.status_code, response.json) == (202, {"batch_id": NAME, "status": "accepted", "readings": 1})
    assert "unable to open" in caplog.text
    assert len(kept(outbox)) == 1


@pytest.mark.parametrize(
    ("prefer", "waited"),
    [
        ("wait=7", 7),
        ("respond-async, WAIT = 7", 7),
        ('wait="7"', 7),
        ("wait=7, wait=8", 7),
        ("wait=7; x=y", 7),
        ("wait=31", MAX_WAIT_S),
        ("wait=999999999", MAX_WAIT_S),
        ("wait", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=x", None),
        ("await=7", None),
        ("x=y; wait=7", None),
        ("wait=\u0661", None),
    ],
)
@pytest.mark.usefixtures("worker")
def test_unsupported_preferences_are_ignored(app: Flask, prefer: str, waited: int | None) -> None:
    """RFC 7240; of two the first counts."""
    response = post(app, text(), Prefer=prefer.encode().decode("latin-1"))
    assert response.status_code == (202 if waited is None else 201)
    assert response.headers.get("Preference-Applied") == (None if waited is None else f"wait={waited}")


def test_more_than_there_is_room_for_do_not_wait(app: Flask, outbox: Outbox) -> None:
    with ThreadPoolExecutor(WAITERS) as senders:
        batches = [text(batch_id=f'"{uuid4()}"', spaceship_id=str(SHIP + 1 + i)) for i in range(WAITERS)]
        waiting = [senders.submit(post, app, each, Prefer="wait=20") for each in batches]
        until(lambda: len(outbox._waiters._waiting) == WAITERS, "all of them wait")
        response = post(app, named(), Prefer="wait=20")
        assert response.status_code == 202
        assert "Preference-Applied" not in response.headers
        decide(outbox)
        assert {each.result(20).status_code for each in waiting} == {201}
    response = post(app, text(), Prefer="wait=0")
    assert response.headers["Preference-Applied"] == "wait=0", "there is room again"


def test_one_sender_leaves_others_room_to_wait(app: Flask, outbox: Outbox) -> None:
    with ThreadPoolExecutor(WAITERS) as senders:
        batches = [text(batch_id=f'"{uuid4()}"') for _ in range(SENDER_WAITERS)]
        waiting = [senders.submit(post, app, each, Prefer="wait=20") for each in batches]
        until(lambda: len(outbox._waiters._waiting) == SENDER_WAITERS, "they wait")
        assert "Preference-Applied" not in post(app, text(), Prefer="wait=20").headers
        waiting.append(senders.submit(post, app, named(spaceship_id=str(SHIP + 1)), Prefer="wait=20"))
        until(lambda: len(outbox._waiters._waiting) == SENDER_WAITERS + 1, "another sender waits, too")
        decide(outbox)
        assert {each.result(20).status_code for each in waiting} == {201}
    assert post(app, text(), Prefer="wait=0").headers["Preference-Applied"] == "wait=0", "there is room again"


@pytest.fixture
def beside(outbox: Outbox) -> Flask:
    """A gateway beside others."""
    ours = routes(outbox, IngestMetrics(CollectorRegistry()), conflict_wait_s=20)
    return make_app(ours, access=anybody)


@pytest.mark.parametrize("body", [named(), f"[{named()}]"])
def test_a_conflict_that_only_the_worker_sees_is_told_at_once(beside: Flask, outbox: Outbox, body: str) -> None:
    """Another gateway has accepted other content under this `batch_id`; the sender does not ask for the receipt."""
    with ThreadPoolExecutor(1) as sender:
        waiting = sender.submit(post, beside, body)
        until(lambda: outbox._waiters._waiting, "it waits")
        decide(outbox, "rejected", *already_used(UUID(NAME)).problems)
        response = waiting.result(20)
    assert response.status_code == 409
    assert "Preference-Applied" not in response.headers


@pytest.mark.parametrize("method", ["DELETE", "PUT"])
def test_so_it_is_of_a_deletion_and_of_covariates(beside: Flask, outbox: Outbox, method: str) -> None:
    client = beside.test_client()

    def ask() -> TestResponse:
        if method == "PUT":
            body = {"batch_id": NAME, "covariates": []}
            return client.put(f"/ships/{SHIP}/covariates", json=body)
        span = {"start": "2018-08-24T00:00:00Z", "end": "2018-08-24T01:00:00Z"}
        return client.delete("/data", query_string={"spaceship_id": SHIP, **span, "batch_id": NAME})

    with ThreadPoolExecutor(1) as sender:
        waiting = sender.submit(ask)
        until(lambda: outbox._waiters._waiting, "it waits")
        decide(outbox, "rejected", *already_used(UUID(NAME)).problems)
        assert waiting.result(20).status_code == 409


@pytest.mark.parametrize("body", [named(), f"[{named()}]"])
def test_a_batch_that_is_stored_meanwhile_gets_the_answer_of_any_gateway(
    beside: Flask, outbox: Outbox, body: str
) -> None:
    with ThreadPoolExecutor(1) as sender:
        waiting = sender.submit(post, beside, body)
        until(lambda: outbox._waiters._waiting, "it waits")
        decide(outbox)
        response = waiting.result(20)
    assert (response.status_code, response.get_json()["status"]) == (202, "accepted")
    assert "Preference-Applied" not in response.headers


@pytest.mark.parametrize(("body", "prefer"), [(text(), {}), (f"[{text()}]", {}), (named(), {"Prefer": "wait=0"})])
def test_what_cannot_be_in_conflict_is_answered_at_once(beside: Flask, body: str, prefer: dict[str, str]) -> None:
    """Nor does one wait who prefers not to."""
    assert post(beside, body, **prefer).status_code == 202


def test_where_no_receipt_comes_the_batch_is_accepted(outbox: Outbox) -> None:
    ours = routes(outbox, IngestMetrics(CollectorRegistry()), conflict_wait_s=0.01)
    assert post(make_app(ours, access=anybody), named()).status_code == 202


def test_who_waits_for_a_receipt_keeps_no_other_body_waiting(
    app: Flask, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be room for one of them only, and a receipt may take half a minute."""
    monkeypatch.setattr("ingest_api.http.body.TURN_S", 0)
    large = named(note=f'"{"x" * SMALL_BYTES}"')
    monkeypatch.setattr("ingest_api.http.body.Room.of", Room(len(large)).of)
    with ThreadPoolExecutor(1) as sender:
        waiting = sender.submit(post, app, large, Prefer="wait=20")
        until(lambda: outbox._waiters._waiting, "it waits")
        assert post(app, text(note=f'"{"x" * SMALL_BYTES}"')).status_code == 202
        decide(outbox)
        assert waiting.result(20).status_code == 201


def test_nothing_is_known_of_a_batch_that_nobody_sent(app: Flask) -> None:
    response = app.test_client().get(f"/batches/{NAME}")
    assert response.status_code == 404
    assert problem(response)["detail"]


@pytest.mark.parametrize("name", ["1", "x", NAME[:-1], "%20", f"{NAME}0"])
def test_what_is_no_uuid_is_422(app: Flask, name: str) -> None:
    response = app.test_client().get(f"/batches/{name}")
    assert response.status_code == 422
    assert problem(response)["errors"] == [{"at": "batch_id", "problem": "should be a UUID"}]


@pytest.fixture
def asking(outbox: Outbox) -> Flask:
    """One that asks for tokens."""
    ours = routes(outbox, IngestMetrics(CollectorRegistry()))
    return make_app(ours, access=partial(access, TOKENS))


def test_a_token_for_other_ships_is_told_nothing(asking: Flask) -> None:
    """Not even that there is such a batch: the answer is that for a batch that nobody has sent."""
    assert post(asking, named(), **bearer("own-ship")).status_code == 202
    client = asking.test_client()
    found = {name: client.get(f"/batches/{NAME}", headers=bearer(name)) for name in ("own-ship", "fleet", "console")}
    assert {name: each.status_code for name, each in found.items()} == {"own-ship": 200, "fleet": 200, "console": 403}
    hidden, unknown = (
        client.get(f"/batches/{name}", headers=bearer("other-ship")) for name in (NAME, NAME.replace("6", "7"))
    )
    assert (hidden.status_code, hidden.data, [*hidden.headers]) == (404, unknown.data, [*unknown.headers])


def test_a_batch_id_of_a_ship_of_others_is_taken_as_new(asking: Flask, outbox: Outbox) -> None:
    """409 would tell that there is such a batch. Each token is told of its own ship's."""
    theirs = named(spaceship_id=str(SHIP + 1))
    assert post(asking, named(), **bearer("own-ship")).status_code == 202
    assert post(asking, theirs, **bearer("other-ship")).status_code == 202
    assert post(asking, theirs, **bearer("other-ship")).status_code == 202
    assert len(kept(outbox)) == 2
    for name, ship in (("own-ship", SHIP), ("other-ship", SHIP + 1)):
        found = asking.test_client().get(f"/batches/{NAME}", headers=bearer(name)).json
        assert found is not None
        assert found["spaceship_id"] == ship
    assert post(asking, named(spaceship_id=str(SHIP + 2)), **bearer("fleet")).status_code == 409
    assert post(asking, named(units='"kWh"'), **bearer("own-ship")).status_code == 409


def test_the_answer_says_how_many_readings_do_not_count(app: Flask, outbox: Outbox) -> None:
    """Once the receipt has said it; where all count it says nothing."""
    for count in (2, 0):
        response = post(app, readings(reading(), reading(value="2")))
        assert response.json is not None
        assert "superseded" not in response.json
        (waiting,) = outbox.waiting(0, 100, 1 << 30)
        done = threading.Event()
        outbox.decide(waiting.key, waiting.digest, "stored", (), done.set, count)
        assert done.wait(20)
        found = app.test_client().get(response.headers["Location"]).json
        assert found is not None
        assert found.get("superseded", 0) == count
        assert ("superseded" in found) == bool(count)
