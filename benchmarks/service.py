"""A whole real service, started for a measurement by `./power up` on free ports."""

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
from benchmarks.load import Batch
from power_cli.up import HOST, ROOT
from shared.domain.errors import Unavailable

START_LIMIT_S = 60
STOP_LIMIT_S = 60
STORED_LIMIT_S = 600
OK = 200


class Service:
    """Broker, worker and both APIs over one store, as a context: they run inside it."""

    def __init__(self, place: Place, **environ: str) -> None:
        """Prepare one; a place that holds a store already is taken as it is. `environ` adds settings."""
        self.start_s = 0.0
        """How long it took until it was ready."""
        self._environ = environ
        self.port, self.mqtt_port = free_port(), free_port()
        self._place = place
        self._log = place.folder / "log"

    def __enter__(self) -> Self:
        """Start it and wait until it says that it is ready."""
        ports = ["--port", str(self.port), "--mqtt-port", str(self.mqtt_port)]
        where = ["--data", str(self._place.folder), "--store", self._place.environ["POWER_STORE"]]
        environ = {**os.environ, **self._place.environ, **self._environ, "PYTHONPATH": str(ROOT)}
        environ.pop("POWER_API_TOKENS_FILE", None)  # what is measured here sends no token
        began_s = time.monotonic()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "power_cli", "up", *ports, *where],
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us; we stop it at the end
            )
        deadline = time.monotonic() + START_LIMIT_S
        while "is ready" not in self._said():
            if self._process.poll() is not None or time.monotonic() > deadline:
                stopped(self._process)
                raise Unavailable(f"the service did not start: {self._said().strip()[-500:]}")
            time.sleep(0.05)
        self.start_s = time.monotonic() - began_s
        self._http = HTTPConnection(HOST, self.port, timeout=30)
        self._look = self._place.look()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all of it."""
        self._http.close()
        self._look.close()
        stopped(self._process)

    def _said(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def worker(self) -> psutil.Process:
        """Give the worker's process; as `gateway`."""
        return self._child("normalizer_worker")

    def gateway(self) -> psutil.Process:
        """Give the process of the two APIs.

        Raises:
            Unavailable: there is none at the moment.

        """
        return self._child("power_cli.http")

    def _child(self, name: str) -> psutil.Process:
        for child in psutil.Process(self._process.pid).children():
            if name in child.cmdline():
                return child
        raise Unavailable(f"the service has no {name} now")

    def get(self, path: str) -> bytes:
        """GET an answer, on one connection that stays open.

        Raises:
            Unavailable: the answer is not a good one.

        """
        return self._request("GET", path, None)

    def post(self, body: bytes) -> bytes:
        """POST a batch; as `get`."""
        return self._request("POST", "/data", body)

    def _request(self, method: str, path: str, body: bytes | None) -> bytes:
        self._http.request(method, path, body, {"Content-Type": "application/json"})
        response = self._http.getresponse()
        answer = response.read()
        if response.status // 100 * 100 != OK:
            raise Unavailable(f"{method} {path} was answered with {response.status}")
        return answer

    def await_stored(self, batches: Sequence[Batch]) -> None:
        """Wait until batches, which continue what their ships have sent, are stored and another process sees it.

        Raises:
            Unavailable: it takes too long.

        """
        deadline = time.monotonic() + STORED_LIMIT_S
        while batches := self._look.missing(batches):
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"after {STORED_LIMIT_S} s still not stored: {batches[0]}; the log ends {self._said()[-300:]}"
                )
            time.sleep(self._look.pause_s)


def stopped(process: subprocess.Popen[bytes]) -> None:
    """End a process, in good order if it does so in time."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()  # its own processes end with it
        process.wait()


def free_port() -> int:
    """Give a port that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
