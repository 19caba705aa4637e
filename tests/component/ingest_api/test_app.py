"""POST /data: what is kept to be published, and what the answers say."""

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry
from werkzeug.test import TestResponse

from ingest_api.http.body import LARGE_AT_A_TIME
from ingest_api.http.intake import NAMED_SHIPS
from ingest_api.http.routes import routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from shared.contract.acceptance import Rules
from shared.contract.batch import Received
from shared.contract.decoding import receive
from shared.contract.limits import MAX_BODY_BYTES, SMALL_BYTES
from shared.domain.clock import now_us
from shared.domain.errors import Unavailable
from shared.domain.timestamps import iso, moment_us
from shared.http.app import make_app
from shared.http.tokens import Access, anybody
from tests.support.bad_batches import INVALID, MOMENT, SHIP, UNREADABLE, BadBatch, reading, readings, text
from tests.support.bad_batches import UUID as UUID_TEXT
from tests.support.decoding import decode
from tests.support.posting import failing, kept, problem

BAD = [*((bad, 422) for bad in INVALID), *((bad, 400) for bad in UNREADABLE)]


def only(outbox: Outbox) -> tuple[int, dict[str, Any]]:
    """Give ship and members of the only batch that waits."""
    ((ship, payload),) = kept(outbox)
    return ship, json.loads(payload)


def client(outbox: Outbox, *, allow_negative: bool = False) -> FlaskClient:
    """Build an app over an outbox."""
    ours = routes(outbox, IngestMetrics(CollectorRegistry()), Rules(allow_negative=allow_negative))
    return make_app(ours, access=anybody).test_client()


def post(outbox: Outbox, payload: str | bytes, **headers: str) -> TestResponse:
    """POST one body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client(outbox).post("/data", data=payload, headers={"Content-Type": "application/json", **named})


def test_a_good_batch_is_kept_for_its_ship_and_answered_202(outbox: Outbox) -> None:
    """With its readings as they came, and the members that were missing; what is not known is not kept."""
    response = post(outbox, text(note='"not kept"', accepted_at=MOMENT))
    ship, members = only(outbox)
    assert ship == SHIP
    assert response.status_code == 202
    assert response.json == {"batch_id": members["batch_id"], "status": "accepted", "readings": 1}
    assert UUID(members.pop("batch_id")).version == 4
    assert members["accepted_at"] == members["sent_at"]
    assert moment_us(members.pop("sent_at")) > moment_us("2024-01-01T00:00:00Z")
    del members["accepted_at"]
    assert members == json.loads(text())


def test_a_batch_id_is_kept_and_echoed(outbox: Outbox) -> None:
    """The gateway makes one only where it is missing."""
    response = post(outbox, text(batch_id=f'"{UUID_TEXT}"'))
    assert response.json is not None
    assert response.json["batch_id"] == UUID_TEXT
    assert only(outbox)[1]["batch_id"] == UUID_TEXT


def test_a_sent_at_is_kept(outbox: Outbox) -> None:
    """The gateway sets it only where it is missing."""
    post(outbox, text(sent_at='"2019-01-05T06:37:00+02:00"'))
    assert only(outbox)[1]["sent_at"] == "2019-01-05T04:37:00Z"


@pytest.mark.parametrize(
    "payload",
    [
        text(batch_id="null", sent_at="null"),
        text(batch_id=f'"{UUID_TEXT}"', sent_at=MOMENT)[:-1] + ', "batch_id": null, "sent_at": null}',
        text() + " \r\n\t",
        text(note='"}"'),
        text(note="{}"),
        text()[:-1] + ', "batch_i\\u0064": null}',
    ],
    ids=["null", "null last", "trailing blanks", "a brace in a string", "an object last", "an escaped name"],
)
def test_what_is_added_is_what_the_worker_reads(payload: str, outbox: Outbox) -> None:
    """Also where a member stands there as null, or where the body ends in an odd way."""
    response = post(outbox, payload)
    assert response.json is not None
    ((_, published),) = kept(outbox)
    batch = decode(published, topic_ship=SHIP)
    assert str(batch.batch_id) == response.json["batch_id"]
    assert batch.sent_at_us is not None
    assert batch.sent_at_us > moment_us("2024-01-01T00:00:00Z")


def test_of_two_batches_the_later_accepted_is_the_later_sent(outbox: Outbox) -> None:
    """Where neither names its `sent_at`: however close they come."""
    sender = client(outbox)
    for _ in range(50):
        assert sender.post("/data", data=text(), headers={"Content-Type": "application/json"}).status_code == 202
    moments = [decode(payload).sent_at_us or 0 for _, payload in kept(outbox)]
    assert moments == sorted(set(moments))


def test_every_reading_sent_is_counted_in_the_answer(outbox: Outbox) -> None:
    """Repeated moments included."""
    response = post(outbox, readings(*[reading(value=str(value)) for value in range(7)]))
    assert response.json is not None
    assert response.json["readings"] == 7


def test_a_packed_batch_is_kept_unpacked(outbox: Outbox) -> None:
    """The worker knows no Content-Encoding."""
    response = post(outbox, gzip.compress(text().encode()), Content_Encoding="gzip")
    assert response.status_code == 202
    assert only(outbox)[1]["data"] == json.loads(text())["data"]


def test_of_a_full_body_nothing_is_kept_but_what_is_known(outbox: Outbox) -> None:
    """Or little, well packed, would fill the outbox with what nobody reads."""
    full = text(note=f'"{"x" * (MAX_BODY_BYTES - len(text(note=chr(34) * 2)))}"')
    assert len(full) == MAX_BODY_BYTES
    long = readings(reading(moment=f'"2019-01-05T04:37:00.5{"0" * (MAX_BODY_BYTES // 2)}Z"'))
    for payload in (full, long):
        assert post(outbox, gzip.compress(payload.encode()), Content_Encoding="gzip").status_code == 202
    first, second = (json.loads(payload) for _, payload in kept(outbox))
    assert first["data"] == json.loads(text())["data"]
    assert second["data"] == [{"datetime": "2019-01-05T04:37:00.500000Z", "value": 1}]
    assert all(len(payload) < 300 for _, payload in kept(outbox))


@pytest.mark.parametrize(("bad", "status"), BAD, ids=[bad.name for bad, _ in BAD])
def test_a_bad_batch_is_refused_and_nothing_is_kept(bad: BadBatch, status: int, outbox: Outbox) -> None:
    """A batch is taken whole or not at all."""
    response = post(outbox, bad.payload)
    assert response.status_code == status
    assert sorted(each["at"] for each in problem(response)["errors"]) == sorted(bad.at)
    assert problem(response)["detail"]
    assert kept(outbox) == []


def test_what_cannot_be_kept_is_503_with_retry_after(
    caplog: pytest.LogCaptureFixture, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepted is only what can be kept; why it can not be is for the log, not for the sender."""
    response = post(failing(outbox, Unavailable("the disk of /srv/10.0.0.7 is full"), monkeypatch), text())
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert "10.0.0.7" not in str(problem(response))
    assert "10.0.0.7" in caplog.text


def test_a_bad_batch_is_422_also_while_nothing_can_be_kept(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """To try again would be of no use to its sender."""
    assert post(failing(outbox, Unavailable("full"), monkeypatch), text(units='"J"')).status_code == 422


def test_a_fault_of_ours_is_500_and_only_the_log_tells_which(
    caplog: pytest.LogCaptureFixture, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of ours but the sentence reaches the user."""
    response = post(failing(outbox, RuntimeError("the inner workings"), monkeypatch), text())
    assert response.status_code == 500
    assert "inner workings" not in str(problem(response))
    assert "inner workings" in caplog.text


@pytest.mark.parametrize("allow", [True, False])
def test_values_below_0_are_for_fleets_that_allow_them(allow: bool, outbox: Outbox) -> None:  # noqa: FBT001  # hardly otherwise
    """POWER_ALLOW_NEGATIVE, at the gateway."""
    sender = client(outbox, allow_negative=allow)
    response = sender.post("/data", data=readings(reading(value="-1")), headers={"Content-Type": "application/json"})
    assert response.status_code == (202 if allow else 422)
    assert len(kept(outbox)) == allow


@pytest.mark.parametrize(
    ("payload", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"\x1f", {"Content-Encoding": "gzip"}, 400),
        (b" " * (MAX_BODY_BYTES + 1), {}, 413),
        (gzip.compress(b" " * (MAX_BODY_BYTES + 1)), {"Content-Encoding": "gzip"}, 413),
        (b"{}", {"Content-Type": "text/html"}, 415),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (b"{}", {}, 422),
    ],
    ids=["not JSON", "not gzip", "too large", "too large unpacked", "not called JSON", "other encoding", "invalid"],
)
def test_every_refusal_says_in_errors_where_and_what(
    payload: bytes, headers: dict[str, str], status: int, outbox: Outbox
) -> None:
    """422, 413, 415 and 400 all carry `errors: [{"at", "problem"}]`."""
    response = client(outbox).post("/data", data=payload, headers={"Content-Type": "application/json", **headers})
    assert response.status_code == status
    errors = problem(response).get("errors")
    assert errors, "no errors"
    assert all(each["at"] and each["problem"] for each in errors)


@pytest.mark.parametrize("path", ["/", "/dat", "/data/x", "/data/1", "/DATA"])
def test_a_post_elsewhere_is_404(path: str, outbox: Outbox) -> None:
    """As a problem."""
    response = client(outbox).post(path, data=text(), headers={"Content-Type": "application/json"})
    assert response.status_code == 404
    problem(response)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_another_method_is_405_with_those_that_are_allowed(method: str, outbox: Outbox) -> None:
    """As a problem, with Allow."""
    response = client(outbox).open("/data", method=method)
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    problem(response)


def test_another_encoding_is_told_which_is_taken(outbox: Outbox) -> None:
    """Accept-Encoding in a 415, as RFC 9110, section 12.5.3, asks for."""
    response = post(outbox, b"{}", Content_Encoding="br")
    assert (response.status_code, response.headers["Accept-Encoding"]) == (415, "gzip")


def test_one_large_batch_is_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch, outbox: Outbox) -> None:
    """It may take 100 MB for it; small ones do not wait for it."""
    lock, here, most = threading.Lock(), 0, 0
    is_in, leave = threading.Event(), threading.Event()

    def counted(payload: bytes, rules: Rules, now_us: int) -> Received:
        nonlocal here, most
        if len(payload) > SMALL_BYTES:
            with lock:
                here += 1
                most = max(most, here)
            is_in.set()
            assert leave.wait(20)
            with lock:
                here -= 1
        return receive(payload, rules, now_us)

    monkeypatch.setattr("ingest_api.http.intake.receive", counted)
    app = client(outbox).application
    large = text(note=f'"{"x" * SMALL_BYTES}"')
    with ThreadPoolExecutor(LARGE_AT_A_TIME) as senders:
        answers = [senders.submit(app.test_client().post, "/data", data=large) for _ in range(LARGE_AT_A_TIME)]
        assert is_in.wait(20)
        assert app.test_client().post("/data", data=text()).status_code == 202
        leave.set()
        assert {each.result(20).status_code for each in answers} == {202}
    assert most == 1


@pytest.mark.parametrize(
    ("ships", "status"),
    [({SHIP}, 400), ({SHIP, 5}, 400), ({5}, 403), (None, 400)],
    ids=["its own", "one of its own", "of others only", "any"],
)
def test_a_large_body_of_others_is_refused_before_it_is_parsed(
    ships: set[int] | None, status: int, outbox: Outbox
) -> None:
    """What is no JSON is 400 to those whose ship it names, and 403 to all others."""
    cut_short = text(note=f'"{"x" * SMALL_BYTES}"')[:-1]
    access = Access("ingest", None if ships is None else frozenset(ships))
    ours = routes(outbox, IngestMetrics(CollectorRegistry()))
    sender = make_app(ours, access=lambda _: access).test_client()
    assert sender.post("/data", data=cut_short).status_code == status


@pytest.mark.parametrize(
    "payload",
    [
        text(spaceship_id=None, note=f'"{"x" * SMALL_BYTES}"')[:-1] + f', "spaceship\\u005fid": {SHIP}}}',
        text(note=f'{{"spaceship_id": 5, "x": "{"x" * SMALL_BYTES}"}}'),
        f'{{"note": {{"spaceship_id": 5, "x": "{"x" * SMALL_BYTES}"}}, {text()[1:]}',
        text(data=f'[{{"spaceship_id": 5, "datetime": {MOMENT}, "value": 1, "note": "{"x" * SMALL_BYTES}"}}]'),
        text(note=f'["{"x" * SMALL_BYTES}", {"[1, 2], " * NAMED_SHIPS} "\\"spaceship_id\\": 5"]'),
    ],
    ids=["an escaped name", "named elsewhere, too", "named elsewhere before", "named in a reading, too", "in a string"],
)
def test_a_large_body_is_not_refused_for_ships_that_it_only_mentions(payload: str, outbox: Outbox) -> None:
    """What a text seems to say before it is parsed refuses only what names no ship of the token."""
    access = Access("ingest", frozenset({SHIP}))
    sender = make_app(routes(outbox, IngestMetrics(CollectorRegistry())), access=lambda _: access).test_client()
    assert sender.post("/data", data=payload).status_code == 202


def test_a_batch_of_another_ship_is_refused_whatever_it_mentions(outbox: Outbox) -> None:
    """The ship that counts is the one that was read."""
    access = Access("ingest", frozenset({5}))
    sender = make_app(routes(outbox, IngestMetrics(CollectorRegistry())), access=lambda _: access).test_client()
    for payload in (text(), text(note=f'{{"spaceship_id": 5, "x": "{"x" * SMALL_BYTES}"}}')):
        assert sender.post("/data", data=payload).status_code == 403
    assert kept(outbox) == []


@pytest.mark.parametrize(
    ("members", "at", "why"),
    [
        ({"data": "[{reading}]"}, "data[0].datetime", "is 2 h ahead of now: check the sender's clock and its UTC"),
        ({"sent_at": "{moment}"}, "sent_at", "is 2 h ahead of now: check the sender's clock and its UTC offset"),
        ({"data": '[{{"datetime": "1999-12-31T23:59:59Z", "value": 1}}]'}, "data[0].datetime", "is before 2000-01-01:"),
        ({"sent_at": '"1999-12-31T23:59:59Z"'}, "sent_at", "is before 2000-01-01: check the sender's clock"),
    ],
)
def test_what_a_wrong_clock_wrote_is_refused_with_what_to_check(
    members: dict[str, str], at: str, why: str, outbox: Outbox
) -> None:
    """By the gateway's own clock: one reading of 2036 would be its ship's newest for years."""
    moment = f'"{iso(now_us() + 7_200_000_000)}"'
    filled = {name: each.format(moment=moment, reading=reading(moment)) for name, each in members.items()}
    response = post(outbox, text(**filled))
    assert response.status_code == 422
    ((fault,),) = [problem(response)["errors"]]
    assert fault["at"] == at
    assert fault["problem"].startswith(why)
    assert kept(outbox) == []


def test_what_is_a_little_ahead_is_taken(outbox: Outbox) -> None:
    """Clocks differ by seconds, and meters stamp the end of what they count."""
    moment = f'"{iso(now_us() + 800_000_000)}"'
    assert post(outbox, text(data=f"[{reading(moment)}]", sent_at=moment)).status_code == 202


def test_a_slash_at_the_end_of_a_path_makes_no_difference(outbox: Outbox) -> None:
    """Not a redirect: many senders would not follow it."""
    sender = client(outbox)
    response = sender.post("/data/", data=text(), headers={"Content-Type": "application/json"})
    assert response.status_code == 202
    assert len(kept(outbox)) == 1
    assert sender.get(response.headers["Location"] + "/").status_code == 200
