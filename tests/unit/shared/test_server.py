"""The server: clients that take nothing keep no thread."""

import socket
import threading
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from flask import Response

from shared import http_channel
from shared.http import OPEN, Routes, make_app
from shared.tokens import anybody
from tests.support.servers import HOST
from tests.support.serving import serving


def test_a_client_that_takes_nothing_of_a_long_answer_keeps_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_channel, "STALLED_S", 0.2)
    routes, began, ended = Routes("long", __name__, needs=OPEN), threading.Event(), threading.Event()

    @routes.get("/endless")
    def endless() -> Response:
        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    began.set()
                    yield bytes(2**20)
            finally:
                ended.set()

        return Response(pieces())

    @routes.get("/short")
    def short() -> str:
        return "here"

    with serving(make_app(routes, access=anybody), threads=1) as port, socket.create_connection((HOST, port)) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert began.wait(20)
        with urlopen(f"http://{HOST}:{port}/short", timeout=20) as answer:
            assert answer.read() == b"here"
        assert ended.wait(20)
