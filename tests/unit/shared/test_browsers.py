"""Who may use the service from a browser: by Host, Origin and what browsers tell of a request's site."""

from typing import Any

import pytest
from flask import Flask

from shared.domain.errors import InvalidSettings
from shared.http.app import Routes, make_app
from shared.http.browsers import Browsers, RequestSource
from shared.http.tokens import anybody
from shared.runtime.settings import ListenerSettings

FLEET = "https://fleet.example"
HOST = "127.0.0.1:5000"
CHECKED = Browsers(hosts=frozenset({"power.lan"}), origins=frozenset({FLEET}))
LINK = {"site": "cross-site", "mode": "navigate", "destination": "document"}


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:5000", "localhost.:80", "127.0.0.1", HOST, "127.9.9.9:1", "[::1]:5000", "power.lan:81"],
)
def test_names_of_this_machine_and_those_allowed_are_its_own(host: str) -> None:
    assert CHECKED.refusal("POST", RequestSource(host)) is None


@pytest.mark.parametrize(
    "host",
    [
        *("", ":5000", "evil.example", "evil.example:5000", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("0.0.0.0:5000", "192.0.2.1", "[::]:5000", "localhost, evil.example", "localhost@evil.example", "localhost:x"),
    ],
)
def test_any_other_host_is_refused(host: str) -> None:
    """As after DNS rebinding, where the browser holds the service for a part of the attacker's site."""
    assert "Host" in str(CHECKED.refusal("GET", RequestSource(host)))
    assert "Host" in str(CHECKED.refusal("GET", RequestSource(host, FLEET)))


def test_without_a_host_it_is_no_browser() -> None:
    assert CHECKED.refusal("GET", RequestSource(None)) is None
    assert CHECKED.refusal("GET", RequestSource(None, "http://evil.example"))


@pytest.mark.parametrize(
    ("method", "told", "is_taken"),
    [
        ("POST", {}, True),
        ("POST", {"origin": f"http://{HOST}"}, True),
        ("POST", {"origin": f"http://{HOST}", "site": "same-origin"}, True),
        ("POST", {"site": "none"}, True),
        ("POST", {"origin": "null"}, False),
        ("POST", {"origin": "http://evil.example"}, False),
        ("POST", {"origin": "http://127.0.0.1:8080"}, False),
        ("POST", {"origin": "http://localhost:5000", "site": "cross-site"}, False),
        ("POST", {"site": "cross-site"}, False),
        ("POST", {"site": "same-site"}, False),
        ("POST", {"origin": FLEET, "site": "cross-site"}, True),
        ("POST", {"origin": "http://fleet.example", "site": "cross-site"}, False),
        ("POST", LINK, False),
        ("POST", {**LINK, "origin": "null"}, False),
        ("GET", {"site": "none", "mode": "navigate", "destination": "document"}, True),
        ("GET", {"site": "same-origin", "mode": "cors", "destination": "empty"}, True),
        ("GET", {"site": "cross-site", "mode": "no-cors", "destination": "image"}, False),
        ("GET", {"site": "cross-site", "mode": "cors", "origin": "http://evil.example"}, False),
        ("GET", LINK, True),
        ("HEAD", LINK, True),
        ("DELETE", LINK, False),
        ("GET", {**LINK, "destination": "iframe"}, False),
        ("GET", {**LINK, "origin": "http://evil.example"}, False),
    ],
)
def test_what_comes_from_another_site_is_refused(method: str, told: dict[str, Any], is_taken: bool) -> None:  # noqa: FBT001
    assert (CHECKED.refusal(method, RequestSource(HOST, **told)) is None) == is_taken
    assert Browsers(is_checked=False).refusal(method, RequestSource("evil.example", **told)) is None


def _app(browsers: Browsers) -> Flask:
    routes = Routes("some", __name__, needs="read")

    @routes.get("/some")
    def some() -> str:
        return "here"

    return make_app(routes, access=anybody, browsers=browsers)


def test_a_refusal_is_a_problem_on_every_path() -> None:
    asking = _app(CHECKED).test_client()
    for path in ("/some", "/nowhere"):
        response = asking.get(path, headers={"Host": "evil.example"})
        assert (response.status_code, response.mimetype) == (403, "application/problem+json")
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("is_checked", [True, False])
def test_pages_of_an_allowed_origin_may_read_answers_and_refusals(is_checked: bool) -> None:  # noqa: FBT001
    asking = _app(Browsers(is_checked, origins=frozenset({FLEET}))).test_client()
    for path in ("/some", "/nowhere"):
        response = asking.get(path, headers={"Origin": FLEET})
        assert response.headers["Access-Control-Allow-Origin"] == FLEET
        assert response.headers["Vary"] == "Origin"
        assert "Location" in response.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Origin" not in asking.get("/some", headers={"Origin": "https://else.example"}).headers


def test_a_browser_may_ask_first_without_a_token() -> None:
    asking = _app(CHECKED).test_client()
    question = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, prefer"}
    response = asking.options("/some", headers={"Origin": FLEET, **question})
    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Origin"] == FLEET
    assert {"POST", "DELETE"} <= set(response.headers["Access-Control-Allow-Methods"].split(", "))
    allowed = set(response.headers["Access-Control-Allow-Headers"].split(", "))
    assert {"Authorization", "Content-Type", "Content-Encoding", "Prefer"} <= allowed
    assert asking.options("/some", headers={"Origin": "https://else.example", **question}).status_code == 403


def test_settings_name_hosts_and_origins() -> None:
    settings = ListenerSettings.load({"POWER_HOSTS": "Power.lan, [fd00::1]", "POWER_ALLOWED_ORIGINS": f"{FLEET},"})
    assert settings.browsers == Browsers(True, frozenset({"power.lan", "[fd00::1]"}), frozenset({FLEET}))
    assert ListenerSettings.load({"POWER_HOSTS": "", "POWER_ALLOWED_ORIGINS": ""}).browsers == Browsers()
    assert not ListenerSettings.load({"POWER_API_TOKENS_FILE": "tokens"}).browsers.is_checked


@pytest.mark.parametrize(
    "environ",
    [
        *({"POWER_HOSTS": each} for each in ("power.lan:5000", "http://power.lan", "*")),
        *({"POWER_ALLOWED_ORIGINS": each} for each in ("*", "null", "fleet.example", f"{FLEET}/page", "ftp://x")),
    ],
)
def test_settings_that_would_never_match_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings, match=next(iter(environ))):
        ListenerSettings.load(environ)
