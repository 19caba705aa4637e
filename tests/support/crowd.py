"""Many connections that keep a server waiting, in one of several ways."""

import resource
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import urllib3

from tests.support.servers import HOST

ONE_ADDRESS = (HOST,)
MANY_ADDRESSES = tuple(f"127.0.1.{number}" for number in range(1, 251))

HEAD = "Host: localhost\r\nContent-Type: application/json\r\n"
BODY_BYTES = 200_000
REOPENED = 100
"""So many of the connections that the server has closed are opened again at a time: a crowd is no flood."""
IDLE = b""
SLOW_HEADER = f"GET /healthz HTTP/1.1\r\n{HEAD}X-More: ".encode()
SLOW_BODY = f"POST /data HTTP/1.1\r\n{HEAD}Content-Length: {BODY_BYTES}\r\n\r\n".encode() + b" " * (BODY_BYTES // 2)


def slow_reading(path: str) -> bytes:
    """Ask for an answer that is never read."""
    return f"GET {path} HTTP/1.1\r\n{HEAD}\r\n".encode()


class Crowd:
    """Connections to a port; each sends an opening, and then, where it `drips`, a byte from time to time."""

    def __init__(
        self, port: int, number: int, opening: bytes, *, addresses: Sequence[str] = ONE_ADDRESS, drips: bool = True
    ) -> None:
        """Prepare it."""
        _allow_files(2 * number + 1000)
        self._port, self._opening, self._addresses, self._drips = port, opening, addresses, drips
        self._sockets: list[socket.socket | None] = [None] * number
        self._ending = threading.Event()
        self.opened = 0

    @contextmanager
    def there(self) -> Iterator[None]:
        """Open all, and keep them open; what the server closes is opened again."""
        keeping = threading.Thread(target=self._keep)
        self._round()
        keeping.start()
        try:
            yield
        finally:
            self._ending.set()
            keeping.join()
            for each in self._sockets:
                if each is not None:
                    each.close()

    def _keep(self) -> None:
        while not self._ending.wait(0.5):
            self._round()

    def _round(self) -> None:
        reopened = 0
        for index, each in enumerate(self._sockets):
            if self._ending.is_set():
                return
            if each is None or not self._is_open(each):
                if each is not None:
                    each.close()
                    reopened += 1
                    if reopened > REOPENED:
                        return
                self._sockets[index] = self._open(self._addresses[index % len(self._addresses)])

    def _is_open(self, connection: socket.socket) -> bool:
        try:
            if self._drips and self._opening:
                connection.send(b" ")
            return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1  # established
        except BlockingIOError:
            return True
        except OSError:
            return False

    def _open(self, address: str) -> socket.socket | None:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.2)
        try:
            connection.bind((address, 0))
            connection.connect((HOST, self._port))
            connection.setblocking(False)
            with suppress(BlockingIOError):
                connection.send(self._opening)
        except OSError:
            connection.close()
            return None
        self.opened += 1
        return connection


def slowest_s(port: int, paths: Sequence[str], rounds: int = 20, address: str = "127.0.2.1") -> float:
    """Ask for each path so many times, each on a connection of its own; give the longest time that an answer took."""
    slowest = 0.0
    for path in list(paths) * rounds:
        began_s = time.perf_counter()
        with urllib3.HTTPConnectionPool(HOST, port, retries=False, source_address=(address, 0), timeout=20) as http:
            status = http.request("GET", path).status
        slowest = max(slowest, time.perf_counter() - began_s)
        assert status == 200, f"{path}: {status}"
    return slowest


def _allow_files(number: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(number, hard), hard))
