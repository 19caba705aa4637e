"""PUT /ships/{spaceship_id}/covariates: what is kept to be published, and what the answers say."""

import gzip
import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from ingest_api.http.routes import routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from shared.contract.limits import MAX_BODY_BYTES
from shared.domain.errors import Unavailable
from shared.http.app import make_app
from shared.http.tokens import Access, anybody
from tests.support.bad_batches import UUID as UUID_TEXT
from tests.support.posting import failing, kept, problem

PATH = "/ships/7/covariates"
ROWS = [{"datetime": "2018-08-24T00:00:00Z", "speed": 4}, {"datetime": "2018-08-24T06:00:00Z", "speed": 12.5}]


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def client(outbox: Outbox, registry: CollectorRegistry) -> FlaskClient:
    return make_app(routes(outbox, IngestMetrics(registry)), access=anybody).test_client()


def body(rows: Any = ROWS, **members: Any) -> dict[str, Any]:
    return {"covariates": rows, **members}


def test_a_table_is_kept_for_its_ship_and_answered_202(client: FlaskClient, outbox: Outbox) -> None:
    response = client.put(PATH, json=body(note="not kept"))
    ((ship, payload),) = kept(outbox)
    members = json.loads(payload)
    assert (ship, response.status_code) == (7, 202)
    assert response.json == {"batch_id": members["batch_id"], "status": "accepted", "readings": 0}
    assert response.headers["Location"] == f"/batches/{members['batch_id']}"
    assert members.pop("accepted_at") == members.pop("sent_at")
    assert members == {"spaceship_id": 7, "batch_id": members["batch_id"], "covariates": ROWS}
    assert client.get(response.headers["Location"]).get_json()["status"] == "accepted"


def test_a_repeat_is_kept_and_counted_once_and_another_table_conflicts(
    client: FlaskClient, outbox: Outbox, registry: CollectorRegistry
) -> None:
    named = body(batch_id=UUID_TEXT)
    answers = [client.put(PATH, json=each) for each in (named, named, {**named, "covariates": []})]
    assert [each.status_code for each in answers] == [202, 202, 409]
    assert len(kept(outbox)) == 1
    assert registry.get_sample_value("power_ingest_covariates_total") == 1
    assert registry.get_sample_value("power_ingest_batches_total") == 0
    assert registry.get_sample_value("power_ingest_deletions_total") == 0
    assert registry.get_sample_value("power_ingest_batches_refused_total", {"status": "409"}) == 1


def test_it_may_be_packed(client: FlaskClient, outbox: Outbox) -> None:
    packed = gzip.compress(json.dumps(body()).encode())
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert client.put(PATH, data=packed, headers=headers).status_code == 202
    assert json.loads(kept(outbox)[0][1])["covariates"] == ROWS


@pytest.mark.parametrize(
    ("ship", "payload", "content_type", "status"),
    [
        ("7", "{", "application/json", 400),
        ("7", json.dumps(body()), "text/csv", 415),
        ("7", "x" * (MAX_BODY_BYTES + 1), "application/json", 413),
        ("7", json.dumps(body(spaceship_id=8)), "application/json", 422),
        ("7", json.dumps(body(5)), "application/json", 422),
        ("x", json.dumps(body()), "application/json", 422),
        ("9007199254740992", json.dumps(body()), "application/json", 422),
    ],
    ids=["no JSON", "CSV", "too large", "another ship", "no rows", "no number", "no ship"],
)
def test_what_is_wrong_is_answered_as_a_problem(
    client: FlaskClient, ship: str, payload: str, content_type: str, status: int
) -> None:
    response = client.put(f"/ships/{ship}/covariates", data=payload, headers={"Content-Type": content_type})
    assert response.status_code == status
    assert all(each["at"] and each["problem"] for each in problem(response)["errors"])


@pytest.mark.parametrize(
    ("access", "status"),
    [
        (Access("ingest", frozenset({7})), 202),
        (Access("admin", None), 202),
        (Access("ingest", frozenset({8})), 403),
        (Access("read", None), 403),
    ],
)
def test_the_token_must_be_for_the_ship(access: Access, status: int, outbox: Outbox) -> None:
    """Before its body is read, which may be anything."""
    sender = make_app(routes(outbox, IngestMetrics(CollectorRegistry())), access=lambda _: access).test_client()
    assert sender.put(PATH, json=body()).status_code == status
    assert len(kept(outbox)) == (status == 202)
    assert sender.put(PATH, json={}).status_code == (422 if status == 202 else 403)


def test_pages_of_other_sites_are_refused(client: FlaskClient, outbox: Outbox) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        assert client.put(PATH, json=body(), headers=headers).status_code == 403
    assert kept(outbox) == []


def test_what_cannot_be_kept_is_503(client: FlaskClient, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(outbox, Unavailable("the disk is full"), monkeypatch)
    response = client.put(PATH, json=body())
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
