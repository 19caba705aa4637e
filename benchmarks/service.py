"""A whole service, started by `./power up` on free ports for a measurement."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from typing import Self

import psutil

from benchmarks.databases import Place
from benchmarks.load import Batch, Send, generator
from power_cli.supervisor import stop
from power_cli.up import HOST, ROOT
from shared.domain.errors import Unavailable

START_LIMIT_S = 60
STOP_LIMIT_S = 60
STORED_LIMIT_S = 600
OK = 200


class Service:
    """Broker, worker and both APIs on one store; a context manager that starts and stops them."""

    def __init__(self, place: Place, **environ: str) -> None:
        """Prepare the service on an empty or filled store; `environ` adds settings."""
        self.start_s = 0.0
        """The time that the start took."""
        self._environ = environ
        self.port, self.mqtt_port = free_port(), place.mqtt_port or free_port()
        self._place = place
        self._log = place.folder / "log"

    def __enter__(self) -> Self:
        """Start it, and wait until it is ready."""
        ports = ["--port", str(self.port), "--mqtt-port", str(self.mqtt_port)]
        kind = (
            ["--workers", str(workers)]
            if (workers := self._place.workers)
            else ["--store", self._place.environ["POWER_STORE"]]
        )
        where = ["--data", str(self._place.folder), *kind]
        environ = {**os.environ, **self._place.environ, **self._environ, "PYTHONPATH": str(ROOT)}
        environ.pop("POWER_API_TOKENS_FILE", None)  # the measurements send no token
        began_s = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "power_cli", "up", *ports, *where],
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for this process, which then stops the service
            )
        deadline = time.monotonic() + START_LIMIT_S
        while "is ready" not in self._said():
            if self._process.poll() is not None or time.monotonic() > deadline:
                stop(self._process, STOP_LIMIT_S)
                raise Unavailable(f"the service did not start: {self._said().strip()[-500:]}")
            time.sleep(0.05)  # the log is all that tells it
        self.start_s = time.monotonic() - began_s
        self._http = HTTPConnection(HOST, self.port, timeout=30)
        self._poller = self._place.poller()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all of it."""
        self._http.close()
        self._poller.close()
        stop(self._process, STOP_LIMIT_S)

    def _said(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def worker(self) -> psutil.Process:
        """Return the worker's process; see `gateway`."""
        return self.workers()[0]

    def workers(self) -> list[psutil.Process]:
        """Return the processes of all workers; see `gateway`."""
        return self._children("normalizer_worker")

    def gateway(self) -> psutil.Process:
        """Return the process of the two APIs; it is `Unavailable` if it is not running."""
        return self._children("power_cli.http")[0]

    def _children(self, name: str) -> list[psutil.Process]:
        found = [child for child in psutil.Process(self._process.pid).children() if name in child.cmdline()]
        if not found:
            raise Unavailable(f"{name} is not running")
        return found

    def get(self, path: str) -> bytes:
        """Return the answer to a GET, over a persistent connection; raises `Unavailable` if its status is not 2xx."""
        return self._request("GET", path, None)

    def post(self, body: bytes, **headers: str) -> bytes:
        """POST a batch; see `get`."""
        return self._request("POST", "/data", body, **headers)

    def _request(self, method: str, path: str, body: bytes | None, **headers: str) -> bytes:
        self._http.request(method, path, body, {"Content-Type": "application/json", **headers})
        response = self._http.getresponse()
        answer = response.read()
        if response.status // 100 * 100 != OK:
            raise Unavailable(f"{method} {path} was answered with {response.status}")
        return answer

    def await_stored(self, batches: Sequence[Batch]) -> None:
        """Wait until another process sees that batches are stored, or raise `Unavailable`.

        They must follow all stored readings of their ships.
        """
        deadline = time.monotonic() + STORED_LIMIT_S
        while batches := self._poller.missing(batches):
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"after {STORED_LIMIT_S} s still not stored: {batches[0]}; the log ends {self._said()[-300:]}"
                )
            time.sleep(self._poller.pause_s)  # looking takes the database some of the time that is measured

    def stored_per_s(self, send: Send, port: int, batches: Sequence[Batch]) -> float:
        """Send batches, and return readings per second from the first byte sent until the last batch is visible.

        Each batch is stored atomically.
        """
        with generator(send, port, batches) as start:
            began_s = time.perf_counter()
            start()
            self.await_stored(batches[::-1])
            took_s = time.perf_counter() - began_s
        return sum(batch.readings for batch in batches) / took_s


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
