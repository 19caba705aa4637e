"""Proxies that break connections: `FaultProxy` for any protocol; `HttpFaultProxy`, which knows HTTP and InfluxDB."""

import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Self

import urllib3

from tests.support.servers import HOST

HANGS, CUTS, SWALLOWS = -1, -2, -3
"""In the place of a status: no answer ever; the connection is closed without one, before or after it is done."""
UP, DOWN = "up", "down"
"""To the server; from the server."""
CHUNK_BYTES = 65_536
_PASSED_ON = ("Authorization", "Content-Type", "Accept", "Content-Encoding")


class FaultProxy:
    """Passes on what comes on TCP, late or not at all, and cuts connections, where it is told to."""

    def __init__(self, port: int) -> None:
        """Listen; what comes is passed on to a port of this machine."""
        self.delay_s = 0.0
        """How long each chunk takes."""
        self.hits = 0
        """How many connections were cut."""
        self._to_port = port
        self._lock = threading.Lock()
        self._fault, self._way, self._passes = 0, UP, deque[int]()
        self._ends = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((HOST, 0))

    def __enter__(self) -> Self:
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        _shut(self._listener)
        for each in list(self._open):
            _shut(each)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def breaks(self, fault: int, way: str, passes: Sequence[int]) -> None:
        """Cut connections from now on.

        Args:
            fault: `CUTS`: half of a chunk still passes; `SWALLOWS`: nothing of it does.
            way: of what.
            passes: for each of the cuts, how many chunks pass before it.

        """
        with self._lock:
            self._fault, self._way, self._passes = fault, way, deque(passes)

    @property
    def is_whole(self) -> bool:
        """Tell whether all that was to be cut is cut."""
        return not self._passes

    def _run(self, act: Callable[..., None], *args: object) -> threading.Thread:
        thread = threading.Thread(target=act, args=args)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while not self._ends.is_set():
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            self._run(self._connect, client)

    def _connect(self, client: socket.socket) -> None:
        with client:
            try:
                server = socket.create_connection((HOST, self._to_port))
            except OSError:
                return
            with server:
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open |= {client, server}
                back = self._run(self._pass_on, server, client, DOWN)
                self._pass_on(client, server, UP)
                back.join()
                self._open -= {client, server}

    def _pass_on(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with suppress(OSError):
            is_cut = self._ends.is_set()
            while not is_cut and (chunk := source.recv(CHUNK_BYTES)):
                if self.delay_s:
                    self._ends.wait(self.delay_s)
                passing, is_cut = self._passing(chunk, way)
                sink.sendall(passing)
        _shut(source)
        _shut(sink)

    def _passing(self, chunk: bytes, way: str) -> tuple[bytes, bool]:
        """Give what passes of a chunk, and whether the connection ends with it."""
        with self._lock:
            if not self._passes or way != self._way:
                return chunk, False
            self._passes[0] -= 1
            if self._passes[0] >= 0:
                return chunk, False
            self._passes.popleft()
            self.hits += 1
            return (b"" if self._fault == SWALLOWS else chunk[: len(chunk) // 2]), True


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


class HttpFaultProxy:
    """Stands in for InfluxDB; `fault` says how it answers, and to what."""

    def __init__(self, url: str = "") -> None:
        """Listen; what is let through goes to a real InfluxDB at `url`."""
        self.asked: list[str] = []
        self.fault = 0
        """The status to answer with; 0 lets the request through."""
        self.at = "/"
        """How the paths of requests begin that are answered so."""
        self.passes = 0
        """How many of these are let through first."""
        self.version: str | None = "1.6.7"
        """What it says to be, if nothing is let through."""
        self.pretends = ""
        """What the real one says to be, if that is not the truth."""
        self._url = url
        self._hanging = threading.Event()
        self._http = urllib3.PoolManager(retries=False)
        self._server = ThreadingHTTPServer((HOST, 0), type("_Bound", (_Handler,), {"between": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._hanging.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._http.clear()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._server.server_address[1]}"

    def breaks(self, fault: int, at: str = "/", passes: int = 0) -> None:
        """Answer so from now on."""
        self.fault, self.at, self.passes = fault, at, passes

    def heals(self) -> None:
        """Let everything through from now on."""
        self.fault = 0

    def answer(self, request: "_Handler", body: bytes) -> None:
        """Answer one request."""
        self.asked.append(request.path)
        if self.fault and request.path.startswith(self.at):
            if self.passes <= 0:
                self._fail(request, body)
                return
            self.passes -= 1
        self._pass_on(request, body)

    def _pass_on(self, request: "_Handler", body: bytes, *, is_answered: bool = True) -> None:
        if not self._url:
            request.say(204, {} if self.version is None else {"X-Influxdb-Version": self.version}, b"")
            return
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        found = self._http.request(request.command, self._url + request.path, body=body, headers=headers)
        if not is_answered:
            return
        kept = {name: found.headers[name] for name in ("Content-Type", "X-Influxdb-Version") if name in found.headers}
        kept |= {"X-Influxdb-Version": self.pretends} if self.pretends else {}
        request.say(found.status, kept, found.data)

    def _fail(self, request: "_Handler", body: bytes) -> None:
        if self.fault == HANGS:
            self._hanging.wait()
        if self.fault == SWALLOWS:
            self._pass_on(request, body, is_answered=False)
        if self.fault in (HANGS, CUTS, SWALLOWS):
            request.close_connection = True
            return
        request.say(self.fault, {"Content-Type": "application/json"}, b'{"error":"said by the test"}')


class _Handler(BaseHTTPRequestHandler):
    between: ClassVar[HttpFaultProxy]
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer: the client delays what acknowledges the first of several
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.between.answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

    do_GET = do_POST  # noqa: N815  # as http.server names it

    def say(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
