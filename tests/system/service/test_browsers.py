"""A browser that shows pages of other sites: they neither send readings nor read answers, unless they are allowed."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import started_browser
from tests.support.servers import HOST, Service, free_port, started
from tests.support.waiting import until

BATCH = {"spaceship_id": 66, "units": "kWh", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 12}]}
ATTEMPTS = """async ([url, batch]) => {
    const tried = [];
    tried.push(fetch(url, {method: "POST", mode: "no-cors", body: new Blob([batch])}));
    tried.push(fetch(url, {method: "POST", mode: "no-cors", body: batch}));
    tried.push(fetch(url, {method: "POST", headers: {"Content-Type": "application/json"}, body: batch}));
    navigator.sendBeacon(url, new Blob([batch]));
    await Promise.allSettled(tried);
}"""
FORM = """([url, batch]) => {
    const form = document.createElement("form");
    Object.assign(form, {method: "POST", action: url, enctype: "text/plain"});
    const field = document.createElement("input");
    const [name, value] = [batch.slice(0, -1) + ',"x":"', '"}'];
    Object.assign(field, {name, value});
    form.append(field);
    document.body.append(form);
    form.submit();
}"""
READ = """async (url) => {
    try { return (await fetch(url)).status; } catch (error) { return String(error); }
}"""
SEND = """async ([url, batch]) => {
    const headers = {"Content-Type": "application/json", "Prefer": "wait=10"};
    const answer = await fetch(url, {method: "POST", headers, body: batch});
    return [answer.status, answer.headers.get("Location")];
}"""


class _Page(BaseHTTPRequestHandler):
    """A page with nothing on it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Another site</title><body></body>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the base class calls it
        pass


@contextmanager
def _site(port: int) -> Iterator[str]:
    server = ThreadingHTTPServer((HOST, port), _Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests."""
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, str]]:
    """A service, and a site whose pages may use it."""
    port = free_port()
    folder = tmp_path_factory.mktemp("allowed") / "data"
    service = Service(folder, POWER_ALLOWED_ORIGINS=f"http://localhost:{port}")
    with started(service), _site(port) as site:
        yield service, site


def _visited(browser: Browser, site: str) -> Page:
    page = browser.new_context().new_page()
    page.goto(site)
    return page


def test_a_page_of_another_site_stores_nothing_and_reads_nothing(
    browser: Browser, allowed: tuple[Service, str]
) -> None:
    service, _ = allowed
    url, batch = f"http://{HOST}:{service.port}", json.dumps(BATCH)
    refused: list[Any] = []
    with _site(free_port()) as site:
        page = _visited(browser, site)
        page.context.on("response", lambda response: refused.append(response.status))
        page.evaluate(ATTEMPTS, [f"{url}/data", batch])
        assert "TypeError" in page.evaluate(READ, f"{url}/topusers")
        page.evaluate(FORM, [f"{url}/data", batch])
        page.wait_for_url(f"{url}/data")
        assert "another site" in page.content()
        until(lambda: refused.count(403) >= 4, "they are refused")
        page.context.close()
    assert 202 not in refused
    assert 66 not in [each["spaceship_id"] for each in service.get("/ships")["ships"]]


def test_a_page_of_an_allowed_origin_sends_and_reads(browser: Browser, allowed: tuple[Service, str]) -> None:
    service, site = allowed
    url = f"http://{HOST}:{service.port}"
    page = _visited(browser, site)
    status, location = page.evaluate(SEND, [f"{url}/data", json.dumps({**BATCH, "spaceship_id": 67})])
    assert status == 201
    assert location.startswith("/batches/")
    assert page.evaluate(READ, f"{url}/data?spaceship_id=67") == 200
    page.context.close()


def test_a_link_from_another_site_opens_the_page(browser: Browser, allowed: tuple[Service, str]) -> None:
    service, _ = allowed
    url = f"http://{HOST}:{service.port}"
    with _site(free_port()) as site:
        page = _visited(browser, site)
        page.evaluate("url => { location.href = url; }", f"{url}/")
        page.wait_for_url(f"{url}/")
        page.locator("#updated", has_text="Updated").wait_for()
        page.context.close()


def test_a_name_that_leads_here_is_not_ours(allowed: tuple[Service, str]) -> None:
    """As after DNS rebinding; with a name of its own it is."""
    service, _ = allowed
    for path in ("/topusers", "/dead-letters", "/"):
        assert service.request("GET", path, headers={"Host": f"evil.example:{service.port}"}).status == 403
        assert service.request("GET", path, headers={"Host": f"localhost:{service.port}"}).status == 200
