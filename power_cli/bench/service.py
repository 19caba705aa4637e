"""A whole real service, started for a measurement by `./power up` on free ports."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

import psutil

from power_cli.up import HOST, ROOT
from shared.errors import Unavailable
from shared.store.sqlite import FILE_NAME

START_LIMIT_S = 60
STOP_LIMIT_S = 60
STORED_LIMIT_S = 600
LOOK_S = 0.005
OK = 200


class Service:
    """Broker, worker and both APIs over one data folder, as a context: they run inside it."""

    def __init__(self, folder: Path) -> None:
        """Prepare one; a folder that holds a store already is taken as it is."""
        self.port, self.mqtt_port = _free_port(), _free_port()
        self._folder = folder
        self._log = folder / "log"

    def __enter__(self) -> Self:
        """Start it and wait until it says that it is ready."""
        ports = ["--port", str(self.port), "--mqtt-port", str(self.mqtt_port)]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        environ.pop("POWER_API_TOKENS_FILE", None)  # what is measured here sends no token
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "power_cli", "up", *ports, "--data", str(self._folder)],
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us; we stop it at the end
            )
        deadline = time.monotonic() + START_LIMIT_S
        while "is ready" not in self._said():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop()
                raise Unavailable(f"the service did not start: {self._said().strip()[-500:]}")
            time.sleep(0.05)
        self._http = HTTPConnection(HOST, self.port, timeout=30)
        self._store = sqlite3.connect(f"file:{self._folder / FILE_NAME}?mode=ro", uri=True, isolation_level=None)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all of it."""
        self._http.close()
        self._store.close()
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its own processes end with it
            self._process.wait()

    def _said(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def worker(self) -> psutil.Process:
        """Give the worker's process.

        Raises:
            Unavailable: there is none at the moment.

        """
        for child in psutil.Process(self._process.pid).children():
            if "normalizer_worker" in child.cmdline():
                return child
        raise Unavailable("the service has no worker now")

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

    def await_stored(self, readings: Iterable[tuple[int, int]]) -> None:
        """Wait until readings, given as ship and moment, are visible to another process.

        It looks for one of them at a time, so that looking costs the service nothing.

        Raises:
            Unavailable: it takes too long.

        """
        deadline = time.monotonic() + STORED_LIMIT_S
        for key in readings:
            while not self._store.execute("SELECT 1 FROM readings WHERE ship = ? AND time_us = ?", key).fetchone():
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"after {STORED_LIMIT_S} s still not stored: {key}; the log ends {self._said()[-300:]}"
                    )
                time.sleep(LOOK_S)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
