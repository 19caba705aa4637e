"""nginx with the project's configuration in front of two gateways that share a name, as in a cluster."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.dns import NameServer
from tests.support.edge import Edge
from tests.support.servers import free_port
from tests.support.waiting import until

ADDRESSES = ("127.0.0.2", "127.0.0.3")
NAME = "gateways.test"
JSON = {"Content-Type": "application/json"}


class Gateway:
    """A stand-in for a gateway, of which only what nginx sees of it matters."""

    def __init__(self, address: str, port: int) -> None:
        """Prepare one at an address."""
        self.port = port
        self.known: dict[str, str] = {}
        self.posted: list[bytes] = []
        self.breaks = False
        """Whether it closes the connection without an answer."""
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                gateway.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
                if gateway.breaks:
                    self.close_connection = True
                    return
                self._say(202, {"status": "accepted"})

            def do_GET(self) -> None:
                status = gateway.known.get(self.path.rpartition("/")[2])
                self._say(200 if status else 404, {"status": status})

            def _say(self, code: int, body: object) -> None:
                text = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._address, self._handler = (address, port), Handler
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Serve."""
        self._server = ThreadingHTTPServer(self._address, self._handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop, if it serves: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def gateways() -> Iterator[list[Gateway]]:
    """Two of them, on one port."""
    port = free_port()
    gateways = [Gateway(address, port) for address in ADDRESSES]
    for each in gateways:
        each.start()
    yield gateways
    for each in gateways:
        each.stop()


@pytest.fixture
def names() -> Iterator[NameServer]:
    """A name server that gives both addresses for one name."""
    names = NameServer({NAME: ADDRESSES})
    names.start()
    yield names
    names.stop()


@pytest.fixture
def edge(gateways: list[Gateway], names: NameServer, tmp_path: Path) -> Iterator[Edge]:
    """The edge in front of them."""
    others = dict.fromkeys(("ingest_api", "query_api", "normalizer_worker"), 1)
    edge = Edge(
        tmp_path,
        others,
        POWER_EDGE_INGEST=f"{NAME}:{gateways[0].port}",
        POWER_EDGE_RESOLVER=names.address,
        POWER_EDGE_UNKNOWN="404, 404",
    )
    edge.start()
    yield edge
    edge.stop()


def _post(edge: Edge) -> int:
    return edge.request("POST", "/data", b"{}", JSON).status


def test_batches_are_shared_out(edge: Edge, gateways: list[Gateway]) -> None:
    assert {_post(edge) for _ in range(40)} == {202}
    assert all(each.posted for each in gateways)


def test_no_batch_is_refused_while_a_gateway_is_away(edge: Edge, gateways: list[Gateway]) -> None:
    gateways[0].stop()
    assert {_post(edge) for _ in range(20)} == {202}
    assert len(gateways[1].posted) == 20


def test_a_batch_whose_connection_breaks_goes_to_the_other_gateway(edge: Edge, gateways: list[Gateway]) -> None:
    gateways[0].breaks = True
    assert {_post(edge) for _ in range(20)} == {202}
    assert len(gateways[1].posted) == 20
    assert gateways[0].posted, "none was sent there first"


def test_the_status_of_a_batch_is_found_wherever_it_is(edge: Edge, gateways: list[Gateway]) -> None:
    for gateway in gateways:
        batch_id = str(uuid4())
        gateway.known[batch_id] = "stored"
        assert {edge.request("GET", f"/batches/{batch_id}").json()["status"] for _ in range(10)} == {"stored"}


def test_a_batch_is_unknown_only_if_every_gateway_says_so(
    edge: Edge, gateways: list[Gateway], names: NameServer
) -> None:
    """Neither one that refuses connections nor one whose name is gone may know it."""

    def answer() -> int:
        response = edge.request("GET", f"/batches/{uuid4()}")
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["status"] == response.status
        return response.status

    assert {answer() for _ in range(10)} == {404}
    gateways[0].stop()
    assert {answer() for _ in range(10)} == {503}
    names.names[NAME] = ADDRESSES[1:]  # as an engine does with a container that has stopped
    until(lambda: "502" not in edge.log.read_text("utf-8").splitlines()[-1], "the edge knows of it")
    assert {answer() for _ in range(10)} == {503}


def test_with_no_gateway_the_service_is_unavailable(edge: Edge, gateways: list[Gateway]) -> None:
    for each in gateways:
        each.stop()
    assert _post(edge) == 503
    assert edge.request("GET", f"/batches/{uuid4()}").status == 503
