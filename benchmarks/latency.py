"""The time from a POST until a GET returns its reading, one at a time; baseline: a minimal HTTP server."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from statistics import median, quantiles

from benchmarks.load import START_S, Batch
from benchmarks.rounds import Options, in_turn, milliseconds
from benchmarks.service import Service
from benchmarks.table import Row
from power_cli.up import HOST
from shared.domain.errors import Unavailable
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import US_PER_S, iso

WANTED_P99_MS = 250
SHIP = 1
STEPS_PER_SLOT = 3
LIMIT_S = 30
PAUSE_S = 0.001


def measure(options: Options) -> list[Row]:
    """Measure milliseconds for a ship with a reading per slot."""
    rounds = options.size(200, 50)
    with Service(options.new_place()) as service, _bare_server() as port:
        slots = itertools.count()
        connection = HTTPConnection(HOST, port)
        service_ms, bare_ms = in_turn(
            rounds,
            lambda: _seen_after_ms(service, next(slots)),
            lambda: milliseconds(lambda: _post_and_get(connection)),
        )
        connection.close()
    p50, p99, bare_p50, bare_p99 = median(service_ms), _p99(service_ms), median(bare_ms), _p99(bare_ms)
    return [
        Row(
            f"from a POST until a GET returns its reading, one at a time, {rounds} times",
            f"p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            f"POST and GET of a minimal HTTP server: p50 {bare_p50:.1f} ms, p99 {bare_p99:.1f} ms",
            p99 / bare_p99,
            f"p99 under {WANTED_P99_MS} ms",
            holds=p99 < WANTED_P99_MS,
            samples={"ms": service_ms, "bare HTTP server ms": bare_ms},
        )
    ]


def _p99(samples: list[float]) -> float:
    return quantiles(samples, n=100, method="inclusive")[-1]


def _seen_after_ms(service: Service, slot: int) -> float:
    """POST a reading for a new slot, and time it until that slot is returned."""
    start_s = START_S + slot * SLOT_S
    window = f"start={iso(start_s * US_PER_S)}&end={iso((start_s + SLOT_S) * US_PER_S)}"
    path = f"/data?spaceship_id={SHIP}&{window}"
    body = Batch(SHIP, slot * STEPS_PER_SLOT, 1).payload()

    def until_seen() -> None:
        deadline = time.monotonic() + LIMIT_S
        service.post(body)
        while not json.loads(service.get(path))["data"]:
            if time.monotonic() > deadline:
                raise Unavailable(f"a reading was not returned within {LIMIT_S} s")
            time.sleep(PAUSE_S)  # as a client that polls would

    return milliseconds(until_seen)


class _Bare(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    do_GET = do_POST = _answer  # noqa: N815  # the names are http.server's


@contextmanager
def _bare_server() -> Iterator[int]:
    server = HTTPServer((HOST, 0), _Bare)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def _post_and_get(connection: HTTPConnection) -> None:
    connection.request("POST", "/data", b"{}")
    connection.getresponse().read()
    connection.request("GET", "/data")
    connection.getresponse().read()
