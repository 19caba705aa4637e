"""The server: what it has read is answered at its end, and clients that take nothing keep no thread."""

import socket
import threading
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from flask import Response

from shared import http
from shared.http import OPEN, Routes, _Threads, make_app
from shared.tokens import anybody
from tests.support.servers import HOST
from tests.support.serving import serving


class Request:
    """Stands in for what waitress has read: the threads serve or cancel it."""

    def __init__(self, go: threading.Event) -> None:
        self.said = ""
        self.began = threading.Event()
        self._go = go

    def service(self) -> None:
        self.began.set()
        assert self._go.wait(20)
        self.said = "served"

    def cancel(self) -> None:
        self.said = "cancelled"


def test_what_waits_for_a_thread_is_served_before_the_end() -> None:
    go, threads = threading.Event(), _Threads()
    threads.set_thread_count(1)
    requests = [Request(go) for _ in range(3)]
    for each in requests:
        threads.add_task(each)  # type: ignore[arg-type]  # a stand-in
    ending = threading.Thread(target=threads.shutdown)
    ending.start()
    go.set()
    ending.join(20)
    assert [each.said for each in requests] == ["served"] * 3


def test_it_waits_for_none_that_takes_too_long() -> None:
    go, threads = threading.Event(), _Threads()
    threads.set_thread_count(1)
    first, second = Request(go), Request(go)
    threads.add_task(first)  # type: ignore[arg-type]  # a stand-in
    assert first.began.wait(20)
    threads.add_task(second)  # type: ignore[arg-type]  # the same
    threads.shutdown(timeout=0.05)
    assert (first.said, second.said) == ("", "cancelled")
    go.set()


def test_a_client_that_takes_nothing_of_a_long_answer_keeps_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "STALLED_S", 0.2)
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
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
        assert began.wait(20)
        with urlopen(f"http://{HOST}:{port}/short", timeout=20) as answer:
            assert answer.read() == b"here"
        assert ended.wait(20)
