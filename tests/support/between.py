"""A server between a client and InfluxDB, which lets requests through, or answers something else on demand."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Self

import urllib3

from tests.support.servers import HOST

HANGS, CUTS = -1, -2
"""In the place of a status: no answer ever; the connection is closed without one."""
_PASSED_ON = ("Authorization", "Content-Type", "Accept", "Content-Encoding")


class Between:
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
                self._fail(request)
                return
            self.passes -= 1
        if not self._url:
            request.say(204, {} if self.version is None else {"X-Influxdb-Version": self.version}, b"")
            return
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        found = self._http.request(request.command, self._url + request.path, body=body, headers=headers)
        kept = {name: found.headers[name] for name in ("Content-Type", "X-Influxdb-Version") if name in found.headers}
        request.say(found.status, kept, found.data)

    def _fail(self, request: "_Handler") -> None:
        if self.fault == HANGS:
            self._hanging.wait()
        if self.fault in (HANGS, CUTS):
            request.close_connection = True
            return
        request.say(self.fault, {"Content-Type": "application/json"}, b'{"error":"said by the test"}')


class _Handler(BaseHTTPRequestHandler):
    between: ClassVar[Between]
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
