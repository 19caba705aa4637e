"""Who is let in: every route of an app is covered, whether it thought of it or not."""

from functools import partial

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry
from werkzeug.test import TestResponse

from ingest_api.http.routes import routes as ingest_routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from query_api.routes import access as access_routes
from shared.http.app import OPEN, Routes, make_app
from shared.http.tokens import access, anybody
from tests.support.bad_batches import SHIP, text
from tests.support.posting import kept
from tests.support.tokens import TOKENS, bearer, secret_of

QUESTIONS = ["/data?spaceship_id=1", "/data/fleet", "/topusers", "/metrics", "/data/stream?spaceship_id=1", "/access"]
FORECAST = "/forecast?spaceship_id=1&start=2024-01-01T00:00:00Z&end=2024-01-02T00:00:00Z"
DELETION = f"/data?spaceship_id={SHIP}&start=2024-01-01T00:00:00Z&end=2024-01-02T00:00:00Z"
OPEN_PATHS = ["/healthz", "/readyz"]
OPEN_ROUTES = {"health", "page"}


def _post(app: Flask, name: str, body: str) -> TestResponse:
    return app.test_client().post("/data", data=body, headers={"Content-Type": "application/json", **bearer(name)})


def _refused(response: TestResponse, status: int) -> str:
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    assert response.json is not None
    assert response.json["status"] == status
    assert ("WWW-Authenticate" in response.headers) == (status == 401)
    assert "secret" not in response.text
    return str(response.json["detail"])


@pytest.mark.parametrize("headers", [{}, bearer("nobody"), {"Authorization": "Basic cm9vdDo="}])
def test_who_is_not_known_gets_401_everywhere(app: Flask, headers: dict[str, str]) -> None:
    """Also where there is nothing: a stranger learns nothing of what there is."""
    client = app.test_client()
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.partition(".")[0] not in OPEN_ROUTES]
    asked = [(rule.rule, method) for rule in rules for method in rule.methods or ()]
    for path, method in [*asked, ("/nowhere", "GET"), ("/data", "PUT"), ("/healthz", "POST"), ("/healthz/x", "GET")]:
        response = client.open(path, method=method, headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        if method != "HEAD":
            assert "token" in _refused(response, 401)


@pytest.mark.parametrize("path", OPEN_PATHS)
@pytest.mark.parametrize("headers", [{}, bearer("nobody"), bearer("own-ship"), bearer("root")])
def test_whether_the_service_is_well_it_tells_everybody(app: Flask, path: str, headers: dict[str, str]) -> None:
    """An orchestrator has no token."""
    assert app.test_client().get(path, headers=headers).status_code == 200


@pytest.mark.parametrize("name", ["all-ships", "own-ship", "root"])
def test_who_may_send_is_let_in(app: Flask, outbox: Outbox, name: str) -> None:
    assert _post(app, name, text()).status_code == 202
    assert [ship for ship, _ in kept(outbox)] == [SHIP]


def test_a_reader_may_not_send(app: Flask, outbox: Outbox) -> None:
    assert "role ingest is needed" in _refused(_post(app, "console", text()), 403)
    assert kept(outbox) == []


def test_another_ships_batch_is_403_and_not_kept(app: Flask, outbox: Outbox) -> None:
    assert f"ship {SHIP}" in _refused(_post(app, "other-ship", text()), 403)
    assert kept(outbox) == []


def test_of_two_ships_in_one_batch_the_one_that_the_worker_reads_is_checked(app: Flask, outbox: Outbox) -> None:
    """Of two members of one name the last counts, here as there."""
    both = f'{{"spaceship_id": {SHIP + 1}, {text()[1:]}'
    _refused(_post(app, "other-ship", both), 403)
    assert kept(outbox) == []


@pytest.mark.parametrize("name", ["all-ships", "own-ship", "root"])
def test_who_may_send_may_delete(app: Flask, outbox: Outbox, name: str) -> None:
    assert app.test_client().delete(DELETION, headers=bearer(name)).status_code == 202
    assert [ship for ship, _ in kept(outbox)] == [SHIP]


def test_deletion_of_another_ships_readings_or_by_a_reader_is_403_and_not_kept(app: Flask, outbox: Outbox) -> None:
    """The token is checked for the same ship that is deleted from: naming two is not a way around it."""
    client = app.test_client()
    assert f"ship {SHIP}" in _refused(client.delete(DELETION, headers=bearer("other-ship")), 403)
    assert "role ingest is needed" in _refused(client.delete(DELETION, headers=bearer("console")), 403)
    two = client.delete(f"{DELETION}&spaceship_id={SHIP + 1}", headers=bearer("other-ship"))
    assert two.status_code in {403, 422}
    assert kept(outbox) == []


@pytest.mark.parametrize("path", QUESTIONS)
def test_who_may_read_is_let_in_and_a_sender_is_not(app: Flask, path: str) -> None:
    client = app.test_client()
    for name in ("console", "root"):
        assert client.get(path, headers=bearer(name)).status_code == 200
    for name in ("all-ships", "own-ship"):
        assert "role read is needed" in _refused(client.get(path, headers=bearer(name)), 403)


def test_a_token_learns_its_role(app: Flask) -> None:
    """And without tokens every request may do everything."""
    client = app.test_client()
    assert [client.get("/access", headers=bearer(name)).json for name in ("console", "root")] == [
        {"role": "read"},
        {"role": "admin"},
    ]
    assert make_app(access_routes.routes(), access=anybody).test_client().get("/access").json == {"role": "admin"}


def test_forecasts_are_for_who_may_read(app: Flask) -> None:
    """Here there is nothing to make one of."""
    statuses = [app.test_client().get(FORECAST, headers=bearer(name)).status_code for name in ("console", "all-ships")]
    assert statuses == [422, 403]


@pytest.mark.parametrize("name", ["own-ship", "console", "root"])
def test_what_is_not_there_is_404_or_405_to_anybody_who_is_known(app: Flask, name: str) -> None:
    client = app.test_client()
    _refused(client.get("/nowhere", headers=bearer(name)), 404)
    _refused(client.put("/data", headers=bearer(name)), 405)


def test_a_route_that_nobody_declared_is_for_admin_alone() -> None:
    app = make_app(Routes("some", __name__, needs="read"), access=partial(access, TOKENS))
    app.add_url_rule("/forgotten", view_func=lambda: "here")
    client = app.test_client()
    assert client.get("/forgotten", headers=bearer("root")).text == "here"
    for name in ("console", "all-ships"):
        assert "role admin is needed" in _refused(client.get("/forgotten", headers=bearer(name)), 403)


def test_open_routes_do_not_make_other_routes_public() -> None:
    app = make_app(Routes("some", __name__, needs=OPEN), access=partial(access, TOKENS))
    app.add_url_rule("/forgotten", view_func=lambda: "here")
    client = app.test_client()
    _refused(client.get("/forgotten"), 401)
    _refused(client.get("/forgotten", headers=bearer("console")), 403)


def test_a_token_in_the_url_is_none(app: Flask) -> None:
    """URLs end up in logs."""
    response = app.test_client().get(f"/topusers?access_token={secret_of('root')}")
    _refused(response, 401)


def test_where_nobody_is_asked_everybody_may_do_everything(outbox: Outbox) -> None:
    client = make_app(ingest_routes(outbox, IngestMetrics(CollectorRegistry())), access=anybody).test_client()
    headers = {"Content-Type": "application/json", **bearer("nobody")}
    assert client.post("/data", data=text(), headers=headers).status_code == 202
