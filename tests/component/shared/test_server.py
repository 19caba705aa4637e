"""The server: whatever clients do, others are answered, and what is kept for all of them is bounded."""

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch
from urllib.request import urlopen

import pytest
from flask import Flask, Response
from urllib3 import HTTPConnectionPool
from waitress.adjustments import Adjustments

from shared.http import channel, request, server
from shared.http.app import OPEN, Routes, make_app
from shared.http.loop import Loop
from shared.http.tokens import anybody
from tests.support.servers import HOST
from tests.support.serving import serving
from tests.support.waiting import until


def test_a_client_that_takes_nothing_of_a_long_answer_keeps_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "STALLED_S", 0.2)
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


def _app(*, began: threading.Event | None = None, held: threading.Event | None = None) -> Flask:
    routes = Routes("some", __name__, needs=OPEN)

    @routes.route("/short", methods=["GET", "POST"])
    def short() -> str:
        return "here"

    @routes.get("/held")
    def hold() -> str:
        assert began is not None
        assert held is not None
        began.set()
        assert held.wait(20)
        return "at last"

    return make_app(routes, access=anybody)


POST = b"POST /short HTTP/1.1\r\nHost: localhost\r\n"


def _connected(port: int, sent: bytes = b"", address: str = HOST) -> socket.socket:
    connection = socket.create_connection((HOST, port), 20, source_address=(address, 0))
    connection.sendall(sent)
    return connection


def _is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def _short(port: int, address: str = "127.0.0.2") -> int:
    with HTTPConnectionPool(HOST, port, retries=False, source_address=(address, 0), timeout=20) as http:
        return http.request("GET", "/short").status


def test_where_all_connections_are_taken_another_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits longest goes, of the address with the most; who is being answered stays."""
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 8)
    began, held = threading.Event(), threading.Event()
    with serving(_app(began=began, held=held)) as port, ExitStack() as all_of_them:
        answered = all_of_them.enter_context(_connected(port, b"GET /held HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        assert began.wait(20)
        lone = all_of_them.enter_context(_connected(port, address="127.0.0.3"))
        crowd = [all_of_them.enter_context(_connected(port, b"G")) for _ in range(20)]
        assert _short(port) == 200
        assert all(_is_closed(each) for each in crowd[:12])
        lone.sendall(b"GET /short HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert lone.recv(15) == b"HTTP/1.1 200 OK"
        held.set()
        assert answered.recv(15) == b"HTTP/1.1 200 OK"


def test_bodies_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slowest go, with their files."""
    monkeypatch.setattr(server, "BODIES_BYTES", 400_000)
    half = POST + b"Content-Length: 200000\r\n\r\n" + bytes(100_000)
    with serving(_app()) as port, ExitStack() as all_of_them:
        crowd = [all_of_them.enter_context(_connected(port, half)) for _ in range(12)]
        assert _is_closed(crowd[0])
        crowd[-1].sendall(bytes(100_000))
        assert crowd[-1].recv(15) == b"HTTP/1.1 200 OK"


def test_a_body_that_there_is_no_room_for_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODIES_BYTES", 400_000)
    head = POST + b"Content-Length: 900000\r\n\r\n"
    with serving(_app()) as port, _connected(port, head) as large:
        large.sendall(bytes(400_001))
        answer = b"".join(iter(lambda: large.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 2" in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /short HTTP/1.1\r\nHost: local",
        b"POST /short HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        b"",
    ],
    ids=["headers", "body", "nothing"],
)
def test_who_is_late_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    for module, name in ((request, "HEADER_S"), (request, "BODY_S"), (channel, "IDLE_S")):
        monkeypatch.setattr(module, name, 0.1)
    with serving(_app()) as port, _connected(port, sent) as slow:
        assert _is_closed(slow)


@pytest.mark.parametrize("endless", [b"1" * 70_000, b"0\r\n" + b"x" * 70_000], ids=["line", "trailer"])
def test_what_stands_between_chunks_is_bounded(endless: bytes) -> None:
    head = b"POST /short HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(_app()) as port, _connected(port, head) as client:
        client.sendall(endless)
        assert client.recv(12) == b"HTTP/1.1 400"


def test_answers_that_nobody_takes_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes nothing is cut off, and not who takes what there is."""
    # Above it answers are dropped until 18 MB are left: the reader's and one more, so that no tie can hit the reader.
    monkeypatch.setattr(server, "ANSWERS_BYTES", 24_000_000)
    routes = Routes("large", __name__, needs=OPEN)

    @routes.get("/large")
    def large() -> bytes:
        return bytes(8_000_000)

    with serving(make_app(routes, access=anybody), threads=8) as port, ExitStack() as all_of_them:
        question = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
        crowd = [all_of_them.enter_context(_connected(port, question)) for _ in range(6)]
        with HTTPConnectionPool(HOST, port, retries=False, source_address=("127.0.0.2", 0), timeout=20) as http:
            assert len(http.request("GET", "/large").data) == 8_000_000
        taken = [_all_of(each) for each in crowd]
        assert sum(size < 8_000_000 for size in taken) >= 3


class _Unread:
    """A connection whose client has not taken all of an answer yet."""

    address = "edge"

    def __init__(self, size: int, since_s: float) -> None:
        self.answer_bytes = self.total_outbufs_len = size
        self.took_s = since_s
        self.is_dropped = False

    def drop_answer(self) -> int:
        self.is_dropped = True
        return self.answer_bytes


def test_a_small_answer_is_dropped_after_all_large_ones() -> None:
    """Through the edge all clients have one address, and an answer that has just begun has little but its headers."""
    small = [_Unread(500, float(i)) for i in range(3)]
    large = [_Unread(2**20, 10.0 + i) for i in range(80)]
    listener = SimpleNamespace(_answers_lock=threading.Lock(), _answers_bytes=0, _channels=lambda: [*small, *large])
    server.Listener.has_kept(cast("server.Listener", listener), server.ANSWERS_BYTES + 1)
    assert [each.is_dropped for each in large] == [True] * 33 + [False] * 47
    assert not any(each.is_dropped for each in small)


def test_answer_that_is_dropped_while_it_is_sent_is_freed_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    """The main thread sends the rest once the thread that answers has ended; waitress takes no lock for it."""
    ours, clients = socket.socketpair()
    listener = cast("server.Listener", SimpleNamespace(active_channels={}, note_change=lambda _: None))
    each = channel.Channel(listener, ours, ("a", 1), Adjustments(), Loop())
    each.outbufs[0].append(bytes(60_000))
    each.total_outbufs_len, send, dropped = 60_000, each.send, list[int]()

    def send_and_drop(data: bytes, *, do_close: bool) -> int:
        sent: int = send(data, do_close)
        other = threading.Thread(target=lambda: dropped.append(each.drop_answer()))
        other.start()
        other.join(20)
        return sent

    with clients, patch.object(each, "send", send_and_drop):
        each.handle_write()
    assert (dropped, each.total_outbufs_len, each.connected) == ([60_000], 0, False)
    assert not caplog.text


def test_large_answers_are_neither_copied_nor_counted_at_each_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the limit a write costs the same with any number of connections."""
    data, counted, channels = bytes(2**20), list[int](), server.Listener._channels
    whole = channel._Whole(data)
    whole.skip(10)
    assert (whole.get(5).obj is data, len(whole)) == (True, 2**20 - 10)

    def counting(listener: server.Listener) -> list[channel.Channel]:
        if threading.current_thread().name.startswith("waitress"):
            counted.append(1)
        return channels(listener)

    monkeypatch.setattr(server.Listener, "_channels", counting)
    routes = Routes("large", __name__, needs=OPEN)

    @routes.get("/large")
    def large() -> Response:
        return Response(data for _ in range(16))

    with (
        serving(make_app(routes, access=anybody)) as port,
        urlopen(f"http://{HOST}:{port}/large", timeout=20) as answer,
    ):
        assert len(answer.read()) == 16 * 2**20
    assert not counted


def _all_of(connection: socket.socket) -> int:
    size = 0
    connection.settimeout(2)
    with suppress(OSError):
        while size < 8_000_000 and (part := connection.recv(2**20)):
            size += len(part)
    return size


def test_clients_that_take_nothing_do_not_take_all_threads() -> None:
    """Of those that wait for their clients the slowest is cut off, long before its time is over."""
    routes, began = Routes("long", __name__, needs=OPEN), list[int]()

    @routes.get("/endless")
    def endless() -> Response:
        began.append(1)
        return Response(bytes(2**20) for _ in range(10_000))

    @routes.get("/short")
    def short() -> str:
        return "here"

    with serving(make_app(routes, access=anybody), threads=5) as port, ExitStack() as all_of_them:
        for _ in range(20):
            all_of_them.enter_context(_connected(port, b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        until(lambda: len(began) >= 5, "each thread has one")
        assert _short(port) == 200


def test_who_comes_over_ipv6_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    """`localhost` means ::1 first on many machines; the limits are those of the one listener."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving(_app()) as port:
        if "cannot listen" in caplog.text:
            pytest.skip("another program has the port of ::1")
        for _ in range(2):
            with urlopen(f"http://[::1]:{port}/short", timeout=20) as answer:
                assert answer.read() == b"here"
        with urlopen(f"http://{HOST}:{port}/short", timeout=20) as answer:
            assert answer.read() == b"here"


@pytest.mark.parametrize(
    ("number", "is_told"), [(errno.EAFNOSUPPORT, False), (errno.EADDRNOTAVAIL, False), (errno.EADDRINUSE, True)]
)
def test_without_ipv6_it_serves_as_ever(number: int, is_told: bool, caplog: pytest.LogCaptureFixture) -> None:  # noqa: FBT001
    """Who has its port of ::1 is told: `localhost` may lead there."""
    create = socket.create_server

    def refused(address: tuple[str, int], **more: Any) -> socket.socket:
        if address[0] == "::1":
            raise OSError(number, "on demand")
        return create(address, **more)

    with (
        patch("socket.create_server", refused),
        serving(_app()) as port,
        urlopen(f"http://{HOST}:{port}/short", timeout=20) as answer,
    ):
        assert answer.read() == b"here"
    assert ("cannot listen on [::1]" in caplog.text) == is_told
