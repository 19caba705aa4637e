"""The page's files: how they are sent, and that a browser has all it needs from here."""

import gzip
import re

import pytest
from flask.testing import FlaskClient

from query_api.routes.page import FILES, POLICY, routes
from shared.domain.errors import Unauthenticated
from shared.http.app import make_app
from shared.http.tokens import Access


def nobody(_header: str | None) -> Access:
    raise Unauthenticated("a token is needed")


@pytest.fixture(scope="module")
def client() -> FlaskClient:
    return make_app(routes(), access=nobody).test_client()


@pytest.fixture(scope="module")
def loaded(client: FlaskClient) -> list[str]:
    """What the page names."""
    return re.findall(r'"(/page/[^"]+)"', client.get("/").text)


def test_the_page_asks_nobody_for_a_token_and_holds_no_data(client: FlaskClient) -> None:
    response = client.get("/")
    assert (response.status_code, response.mimetype) == (200, "text/html")
    assert response.headers["Content-Security-Policy"] == POLICY
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-cache"
    assert client.get("/topusers").status_code == 401


def test_every_referenced_file_exists_and_is_cached_as_immutable(client: FlaskClient, loaded: list[str]) -> None:
    assert {path.rpartition("/")[2] for path in loaded} >= {"main.js", "page.css", "plotly.min.js", "theme.js"}
    for path in loaded:
        response = client.get(path)
        assert response.status_code == 200, path
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["Content-Security-Policy"] == POLICY


def test_what_modules_import_stands_beside_them(client: FlaskClient, loaded: list[str]) -> None:
    (main,) = [path for path in loaded if path.endswith("/main.js")]
    for module in FILES.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', module.read_text("utf-8")):
            assert client.get(main.replace("main.js", name)).mimetype == "text/javascript"


def test_another_version_is_not_passed_off_as_this_one(client: FlaskClient, loaded: list[str]) -> None:
    for path in loaded:
        name = path.rpartition("/")[2]
        assert client.get(f"/page/0123456789abcdef/{name}").status_code == 404
    assert client.get(loaded[0].rpartition("/")[0] + "/index").status_code == 404


def test_it_is_packed_for_who_takes_that(client: FlaskClient, loaded: list[str]) -> None:
    for path in ("/", *loaded):
        plain, packed = client.get(path), client.get(path, headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(packed.data) == plain.data
        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in plain.headers
        assert plain.headers["Vary"] == packed.headers["Vary"] == "Accept-Encoding"
        assert plain.headers["ETag"] != packed.headers["ETag"]


def test_what_a_browser_has_is_not_sent_again(client: FlaskClient) -> None:
    etag = client.get("/").headers["ETag"]
    again = client.get("/", headers={"If-None-Match": etag})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["Content-Security-Policy"] == POLICY


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    html = (FILES / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", html)
    for path in FILES.iterdir():
        addresses = set(re.findall(r"https?://[^\s\"'`]+", path.read_text("utf-8")))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name
        assert "innerHTML" not in path.read_text("utf-8")
