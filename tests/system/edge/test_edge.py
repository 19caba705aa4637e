"""nginx with the project's configuration, in front of the real services, each in its own process."""

import gzip
import json
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from power_cli.up import ROOT
from shared.contract.limits import MAX_BODY_BYTES
from tests.support.edge import Edge, Services, turned_away
from tests.support.servers import HOST, Broker, free_port
from tests.support.waiting import until

JSON = {"Content-Type": "application/json"}
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """The services behind the edge, with a broker."""
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    services = Services(tmp_path_factory.mktemp("data"), broker.port)
    try:
        for name in services.ports:
            services.start(name)
        yield services
    finally:
        services.stop_all()
        broker.stop()


@pytest.fixture(scope="module")
def make_edge(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Edge]]:
    """Edges in front of the same services."""
    edges: list[Edge] = []

    def make(folder: Path | None = None, **environ: str) -> Edge:
        edges.append(Edge(folder or tmp_path_factory.mktemp("edge"), services.ports, **environ))
        edges[-1].start()
        return edges[-1]

    yield make
    for edge in edges:
        edge.stop()


@pytest.fixture(scope="module")
def edge(make_edge: Callable[..., Edge]) -> Edge:
    """One that hardly limits anybody."""
    return make_edge()


def _batch(ship: int, readings: int = 1) -> dict[str, Any]:
    moments = (f"2018-08-{1 + n // 1440:02}T{n // 60 % 24:02}:{n % 60:02}:00Z" for n in range(readings))
    return {
        "spaceship_id": ship,
        "units": "kWh",
        "data": [{"datetime": moment, "value": 12} for moment in moments],
    }


def _problem(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    assert response.headers["Content-Type"] == PROBLEM
    problem: dict[str, Any] = response.json()
    assert problem["status"] == response.status
    return problem


def _energy(edge: Edge, ship: int) -> list[dict[str, Any]]:
    answer: dict[str, Any] = edge.request("GET", f"/data?spaceship_id={ship}").json()
    data: list[dict[str, Any]] = answer["data"]
    return data


def _logged(edge: Edge, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Wait for a line of the log: it is written after the answer."""

    def look() -> dict[str, Any] | None:
        lines = edge.log.read_text("utf-8").splitlines(keepends=True)
        return next((line for text in lines if text.endswith("\n") and is_it(line := json.loads(text))), None)

    return until(look, "it stands in the log")


def test_a_batch_goes_to_the_gateway_and_a_question_to_the_query_service(edge: Edge, ship: int) -> None:
    accepted = edge.request("POST", "/data", json.dumps(_batch(ship)).encode(), JSON)
    assert (accepted.status, accepted.json()["status"]) == (202, "accepted")
    until(lambda: _energy(edge, ship), "the energy can be asked for")
    assert edge.request("GET", "/topusers?count=1").status == 200
    assert edge.request("GET", "/ships?limit=1").json()["ships"]
    assert edge.request("GET", "/data/fleet").status == 200
    forecast = edge.request("GET", f"/forecast?spaceship_id={ship}&start=2100-01-01T00:00:00Z&end=2100-01-02T00:00:00Z")
    assert (forecast.status, forecast.json()["detail"]) == (422, "there is too little history")
    assert edge.request("HEAD", "/topusers").status == 200


def test_a_slash_at_the_end_of_a_path_makes_no_difference(edge: Edge, ship: int) -> None:
    """Each goes to the same service."""
    accepted = edge.request("POST", "/data/", json.dumps(_batch(ship)).encode(), JSON)
    assert accepted.status == 202
    assert edge.request("GET", f"{accepted.headers['Location']}/").status == 200
    assert edge.request("GET", f"/data/?spaceship_id={ship}").status == 200
    assert edge.request("GET", "/dead-letters/?limit=1").json()["dead_letters"] == []


def test_batches_are_looked_up_at_the_gateway(edge: Edge, services: Services) -> None:
    path = "/batches/db6a542d-ee04-46d6-b191-020d993daed3"
    at_gateway = urllib3.request("GET", f"http://{HOST}:{services.ports['ingest_api']}{path}", retries=False)
    assert edge.request("GET", path).status == at_gateway.status
    assert _problem(edge.request("GET", "/batches"))["status"] == 404
    line = _logged(edge, lambda line: line["path"] == path)
    assert line["upstream"] == f"{HOST}:{services.ports['ingest_api']}"


def test_dead_letters_are_the_workers(edge: Edge, services: Services) -> None:
    assert edge.request("GET", "/dead-letters?limit=1").json() == {"count": 0, "dead_letters": []}
    line = _logged(edge, lambda line: line["path"] == "/dead-letters")
    assert line["upstream"] == f"{HOST}:{services.ports['normalizer_worker']}"


def test_a_slash_at_the_end_of_a_path_leads_to_the_same_service(edge: Edge, ship: int) -> None:
    assert edge.request("POST", "/data/", json.dumps(_batch(ship)).encode(), JSON).status == 202
    assert edge.request("GET", f"/data/?spaceship_id={ship}").status == 200
    assert edge.request("GET", "/dead-letters/?limit=1").json() == {"count": 0, "dead_letters": []}


def test_the_page_comes_through_packed_and_for_keeps(edge: Edge) -> None:
    page = edge.request("GET", "/").data.decode()
    (charts,) = re.findall(r"/page/plotly-[^\"]+", page)
    packed = edge.request("GET", charts, headers={"Accept-Encoding": "gzip"})
    assert (packed.status, packed.headers["Content-Encoding"]) == (200, "gzip")
    assert "immutable" in packed.headers["Cache-Control"]


def test_what_a_service_refuses_comes_through_as_it_is(edge: Edge) -> None:
    problem = _problem(edge.request("POST", "/data", b"{}", JSON))
    assert (problem["status"], problem["detail"]) == (422, "the batch is not valid")
    assert _problem(edge.request("GET", "/data?spaceship_id=-1"))["errors"][0]["at"] == "spaceship_id"
    assert _problem(edge.request("GET", "/nowhere"))["status"] == 404


def test_a_method_that_no_service_knows_is_told_which_there_are(edge: Edge) -> None:
    for path, allowed in (("/data", "GET, HEAD, POST, DELETE"), ("/ships/1/covariates", "GET, HEAD, PUT")):
        response = edge.request("PATCH", path)
        assert _problem(response)["status"] == 405
        assert response.headers["Allow"] == allowed
    assert _problem(edge.request("PUT", "/data"))["status"] == 405


def test_covariates_are_put_to_the_gateway_and_got_from_the_query_service(edge: Edge, ship: int) -> None:
    path, rows = f"/ships/{ship}/covariates", [{"datetime": "2018-08-24T00:00:00Z", "speed": 4}]
    response = edge.request("PUT", path, json.dumps({"covariates": rows}).encode(), {**JSON, "Prefer": "wait=20"})
    assert (response.status, response.json()["status"]) == (201, "stored")
    assert edge.request("GET", f"{path}/").json()["covariates"] == rows
    assert _problem(edge.request("POST", path))["status"] == 405


def test_metrics_and_readiness_are_not_for_the_outside(edge: Edge) -> None:
    for path in (
        "/metrics",
        "/metrics?x=1",
        "/%6detrics",
        "//metrics",
        "/metrics/",
        "/data/../metrics",
        "/readyz",
        "/readyz/",
    ):
        assert _problem(edge.request("GET", path))["status"] == 404


def test_it_tells_its_own_health_even_with_nothing_behind_it(tmp_path: Path) -> None:
    edge = Edge(tmp_path, {name: free_port() for name in ("ingest_api", "normalizer_worker", "query_api")})
    edge.start()
    try:
        assert edge.request("GET", "/healthz").json() == {"status": "ok"}
        for method, path in (("POST", "/data"), ("GET", "/topusers")):
            response = edge.request(method, path)
            assert _problem(response)["status"] == 503
            assert response.headers["Retry-After"] == "2"
            assert response.headers["X-Request-ID"]
    finally:
        edge.stop()


def test_a_service_that_comes_back_is_found_again(edge: Edge, services: Services) -> None:
    services.stop("query_api")
    assert _problem(edge.request("GET", "/topusers"))["status"] == 503
    services.start("query_api")
    assert edge.request("GET", "/topusers").status == 200


def test_a_batch_of_eight_mebibytes_passes(edge: Edge, ship: int) -> None:
    body = json.dumps(_batch(ship)).encode()
    assert edge.request("POST", "/data", body + b" " * (MAX_BODY_BYTES - len(body)), JSON).status == 202
    packed = gzip.compress(body)
    assert edge.request("POST", "/data", packed, {**JSON, "Content-Encoding": "gzip"}).status == 202
    until(lambda: _energy(edge, ship), "the energy can be asked for")


def test_a_little_too_much_gets_the_services_answer_and_far_too_much_the_edges(edge: Edge) -> None:
    a_little = _problem(edge.request("POST", "/data", b" " * (MAX_BODY_BYTES + 1), JSON))
    assert (a_little["status"], a_little["errors"][0]["at"]) == (413, "body")
    head = b"POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    answer = edge.raw(head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert PROBLEM.encode() in answer


def test_what_is_no_http_is_a_problem_too(edge: Edge) -> None:
    for sent in (b"GET /data HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET data HTTP/1.1\r\n\r\n"):
        answer = edge.raw(sent)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert PROBLEM.encode() in answer
        assert b"\r\nServer: nginx\r\n" in answer  # and no version
    assert _problem(edge.request("GET", "/problem/400"))["status"] == 404
    assert _problem(edge.request("GET", "/data?" + "x" * 10_000))["status"] == 414


def test_a_client_that_sends_too_much_is_asked_to_wait_a_moment(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(POWER_EDGE_RATE="1r/m", POWER_EDGE_BURST="2")
    answers = [edge.request("GET", "/topusers") for _ in range(4)]
    assert [each.status for each in answers] == [200, 200, 200, 429]
    assert _problem(answers[-1])["title"] == "Too many requests"
    assert answers[-1].headers["Retry-After"] == "1"
    assert edge.request("GET", "/healthz").status == 200


def test_a_client_may_have_so_many_requests_under_way_and_no_more(make_edge: Callable[..., Edge], ship: int) -> None:
    edge = make_edge(POWER_EDGE_CONNECTIONS="1")
    body = json.dumps(_batch(ship)).encode()
    head = f"POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((HOST, edge.port), timeout=20) as slow:
        slow.sendall(head.encode())
        until(lambda: edge.request("GET", "/topusers").status == 429, "it is too many")
        assert _problem(edge.request("GET", "/topusers"))["title"] == "Too many requests"
        slow.sendall(body)
        assert slow.recv(65536).startswith(b"HTTP/1.1 202 ")
    until(lambda: edge.request("GET", "/topusers").status == 200, "one is free again")


def test_behind_a_proxy_the_limits_are_each_clients_own(make_edge: Callable[..., Edge]) -> None:
    edge = make_edge(POWER_EDGE_RATE="1r/m", POWER_EDGE_BURST="1", POWER_EDGE_PROXY=f"{HOST}/32")
    for client in ("192.0.2.1", "192.0.2.2"):
        headers = {"X-Forwarded-For": f"203.0.113.9, {client}"}
        assert [edge.request("GET", "/topusers", headers=headers).status for _ in range(3)] == [200, 200, 429]
        _logged(edge, lambda line, client=client: line["client"] == client)  # type: ignore[misc]


def test_long_answers_are_packed_for_who_takes_that(edge: Edge, ship: int) -> None:
    edge.request("POST", "/data", json.dumps(_batch(ship, 3000)).encode(), JSON)
    until(lambda: len(_energy(edge, ship)) >= 200, "the slots can be asked for")
    path = f"/data?spaceship_id={ship}"
    plain = edge.request("GET", path)
    packed = edge.request("GET", path, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.json() == plain.json()


def test_a_request_has_a_name_its_own_or_a_new_one(edge: Edge) -> None:
    named = edge.request("GET", "/topusers", headers={"X-Request-ID": "bridge-7"})
    assert named.headers["X-Request-ID"] == "bridge-7"
    _logged(edge, lambda line: line["request"] == "bridge-7")
    for strange in ('with "quotes"', "x" * 100, ""):
        response = edge.request("GET", "/topusers", headers={"X-Request-ID": strange})
        assert response.headers["X-Request-ID"] not in ("", strange)


def test_the_log_is_json_and_holds_no_secrets(edge: Edge) -> None:
    edge.request("GET", "/topusers?count=1&secret=hidden", headers={"Authorization": "Bearer hidden"})
    edge.request("GET", "/topusers", headers={"X-Request-ID": "the-last"})
    _logged(edge, lambda line: line["request"] == "the-last")
    assert "hidden" not in edge.log.read_text("utf-8")


def test_with_a_certificate_there_is_https_too(make_edge: Callable[..., Edge], tmp_path: Path) -> None:
    key, certificate = tmp_path / "server.key", tmp_path / "server.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    more = tmp_path / "more" / "listener.conf"
    more.parent.mkdir()
    text = (ROOT / "edge" / "tls" / "listener.conf.example").read_text("utf-8")
    more.write_text(text.replace("/etc/nginx/tls", str(tmp_path)).replace("unix:/tmp/", f"unix:{tmp_path}/"), "utf-8")
    edge = make_edge(tmp_path)
    plain = edge.request("GET", "/topusers")
    assert plain.status == 200
    assert "Strict-Transport-Security" not in plain.headers
    trusting = ssl.create_default_context(cafile=certificate)
    with urllib3.PoolManager(ssl_context=trusting, assert_hostname="localhost", retries=False) as http:
        for path, status in (("/topusers", 200), ("/nowhere", 404), ("/batches", 404)):
            response = http.request("GET", f"https://{HOST}:{edge.tls_port}{path}")
            assert response.status == status
            assert response.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert http.request("DELETE", f"https://{HOST}:{edge.tls_port}/data").headers["Strict-Transport-Security"]
    _logged(edge, lambda line: line["client"] == HOST and line["path"] == "/batches")
    unencrypted = urllib3.request("GET", f"http://{HOST}:{edge.tls_port}/topusers", retries=False)
    assert (unencrypted.status, _problem(unencrypted)["detail"]) == (400, "This port takes HTTPS.")


def test_events_pass_through_as_they_come(edge: Edge) -> None:
    """The edge keeps nothing back: the first lines are there while the stream goes on."""
    with socket.create_connection((HOST, edge.port), timeout=20) as connection:
        head = b"GET /data/stream?spaceship_id=88 HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n"
        connection.sendall(head)
        heard = b""
        while b"retry: 2000" not in heard:
            part = connection.recv(65536)
            assert part, heard
            heard += part
        assert b"text/event-stream" in heard
        assert b"Content-Encoding" not in heard
        edge.request("POST", "/data", json.dumps(_batch(88)).encode(), JSON)
        while b"event: slot" not in heard:
            part = connection.recv(65536)
            assert part, heard
            heard += part


def test_forms_and_tags_pass_through(edge: Edge) -> None:
    """Packed by the service already; a tag that the edge hands out is one that it brings back."""
    edge.request("POST", "/data", json.dumps(_batch(89, 2000)).encode(), JSON)
    until(lambda: len(_energy(edge, 89)) > 100, "the slots are stored")
    path = "/data?spaceship_id=89&tz=Europe/Berlin"
    headers = {"Accept": "text/csv", "Accept-Encoding": "gzip"}
    first = edge.request("GET", path, None, headers)
    assert first.headers["Content-Type"].startswith("text/csv")
    assert first.headers["Content-Encoding"] == "gzip"
    again = edge.request("GET", path, None, {**headers, "If-None-Match": first.headers["ETag"]})
    assert (again.status, again.data) == (304, b"")


def test_one_address_has_so_many_connections_and_no_more(make_edge: Callable[..., Edge]) -> None:
    """Counted as they are accepted: those that send nothing, or a byte, count too."""
    edge = make_edge(POWER_EDGE_OPEN="5")
    crowd = [socket.create_connection((HOST, edge.port), 20, source_address=("127.0.0.8", 0)) for _ in range(8)]
    try:
        for each in crowd:
            with suppress(ConnectionError):
                each.sendall(b"G")
        until(lambda: turned_away(crowd) == 3, "three are closed")
        elsewhere = ("127.0.0.9", 0)
        with urllib3.HTTPConnectionPool(HOST, edge.port, retries=False, source_address=elsewhere, timeout=20) as http:
            assert http.request("GET", "/healthz").status == 200
        assert turned_away(crowd) == 3
    finally:
        for each in crowd:
            each.close()
    until(lambda: edge.log.read_text("utf-8").count('"status":400') == 5, "the others have reached the HTTP server")


def test_whatever_the_edge_answers_by_itself_is_a_problem(edge: Edge) -> None:
    rest = b"Connection: close\r\n\r\n"
    host = b"Host: localhost\r\n"
    long = b"X-Long: " + b"x" * 40_000 + b"\r\n"
    for sent, status in (
        (b"GET / HTTP/1.1\r\n" + rest, 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n" + rest, 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"POST /data HTTP/1.1\r\n" + host + b"Content-Length: ten\r\n" + rest, 400),
        (b"POST /data HTTP/1.1\r\n" + host + b"Transfer-Encoding: gzip\r\n" + rest, 501),
        (b"TRACE / HTTP/1.1\r\n" + host + rest, 405),
        (b"GET /batches HTTP/1.1\r\n" + host + rest, 404),
        (b"GET / HTTP/1.1\r\n" + host + long + rest, 431),
        (b"GET / HTTP/3.0\r\n" + host + rest, 505),
    ):
        answer = edge.raw(sent)
        assert answer.startswith(b"HTTP/1.1 %d " % status), sent[:60]
        head, _, body = answer.partition(b"\r\n\r\n")
        assert PROBLEM.encode() in head, sent[:60]
        assert json.loads(body)["status"] == status


def test_no_query_is_in_the_error_log(edge: Edge, services: Services) -> None:
    """Where an answer is cut off, a body is too large or a service is away, nginx would write the request's line."""
    services.stop("query_api")
    try:
        assert edge.request("GET", "/topusers?secret=hidden").status == 503
    finally:
        services.start("query_api")
    edge.raw(b"POST /data?secret=hidden HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
    edge.request("GET", "/topusers?secret=hidden", headers={"X-Request-ID": "after-errors"})
    _logged(edge, lambda line: line["request"] == "after-errors")
    assert "hidden" not in edge.errors.read_text("utf-8") + edge.log.read_text("utf-8")
