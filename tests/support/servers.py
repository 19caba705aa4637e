"""Real servers, started for the tests: the broker alone, and the whole service."""

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import paho.mqtt.publish as paho
import urllib3

from normalizer_worker.ledger.dead_letters import DeadLetters
from power_cli import mosquitto
from power_cli.up import ROOT
from tests.support.metrics import samples
from tests.support.programs import need
from tests.support.waiting import until

if TYPE_CHECKING:
    from normalizer_worker.ledger.partition_letters import AllLetters

HOST = "127.0.0.1"
PORTS, PORTS_EACH = range(10_000, 20_000), 200


@cache
def _own_ports() -> Iterator[int]:
    """Take a range of ports that no other process of tests has: who holds its first port has the range."""
    for first in random.SystemRandom().sample(PORTS[::PORTS_EACH], len(PORTS) // PORTS_EACH):
        with socket.socket() as lock, suppress(OSError):
            lock.bind((HOST, first))
            lock.detach()  # held until the process ends
            return itertools.cycle(range(first + 1, first + PORTS_EACH))
    raise AssertionError(f"no free range of ports from {PORTS.start} to {PORTS.stop}")


def free_port() -> int:
    """Return a port that nothing listens on.

    It stays free until the caller's server listens: other processes of tests have other ranges, and the system gives
    none of these ports to a client (Linux starts at 32768).
    """
    for port in itertools.islice(_own_ports(), PORTS_EACH):
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise AssertionError("no free port")


def broker_program() -> str:
    """Give the path of Mosquitto; without it, skip on a laptop and fail in CI."""
    return need("mosquitto")


class Broker:
    """A real Mosquitto, configured as `./power up` configures it."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        """Prepare one that keeps its state in a folder."""
        self.port = port or free_port()
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [broker_program(), "-c", str(self.configure())]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until(self._answers, "the broker answers")

    def configure(self) -> Path:
        """Write its configuration and give its path."""
        return mosquitto.configure(self.folder, self.port)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


class ForgetfulBroker(Broker):
    """A broker that keeps nothing on disk."""

    more = ""
    """What its configuration says in the place of the longest packet that it takes."""

    def configure(self) -> Path:
        """See `Broker`."""
        path = super().configure()
        text = path.read_text("utf-8").replace("persistence true", "persistence false")
        path.write_text(text.replace("max_packet_size 8400000", self.more or "max_packet_size 8400000"), "utf-8")
        return path


class Service:
    """The whole service, as `./power up` runs it."""

    def __init__(self, folder: Path, *, store: str = "embedded", **environ: str) -> None:
        """Prepare one that keeps everything in a folder, but for what a `store` keeps; `environ` adds settings."""
        self.folder = folder
        self.port, self.mqtt_port = free_port(), free_port()
        self.log = folder.parent / f"{folder.name}.log"
        self._store = store
        self.environ = {"POWER_STORE": store, **environ}
        self._environ = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
        self._process: subprocess.Popen[bytes] | None = None
        self._http = urllib3.PoolManager(retries=False)

    def command(self) -> list[str]:
        """Give the command that starts it."""
        ports = ["--port", str(self.port), "--mqtt-port", str(self.mqtt_port)]
        command = [sys.executable, "-P", "-m", "power_cli", "up", *ports, "--data", str(self.folder)]
        return [*command, "--store", self._store]

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        broker_program()
        before = self.said().count("is ready")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), env=self._environ, stdout=log, stderr=log)
        until(lambda: self.said().count("is ready") > before or self._ended(), f"ready; see {self.log}")
        assert not self._ended(), self.said()

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def said(self) -> str:
        """Give its log."""
        return self.log.read_text("utf-8") if self.log.exists() else ""

    @property
    def pid(self) -> int:
        """The process of `./power up`."""
        assert self._process is not None
        return self._process.pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and give its exit status."""
        self._http.clear()
        if self._process is None:
            return 0
        self._process.send_signal(number)
        status = self._process.wait(30)
        self._process = None
        return status

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        """Send one request."""
        url = f"http://{HOST}:{self.port}{path}"
        return self._http.request(method, url, body=body, headers=headers, timeout=urllib3.Timeout(30))

    def post(self, batch: Any, **headers: str) -> urllib3.BaseHTTPResponse:
        """POST a batch as JSON."""
        return self.request(
            "POST", "/data", json.dumps(batch).encode(), {"Content-Type": "application/json", **headers}
        )

    def dead_letters(self) -> "AbstractContextManager[DeadLetters | AllLetters]":
        """Open its dead letters."""
        return closing(DeadLetters(self.folder))

    def get(self, path: str) -> Any:
        """GET an answer that must be a good one."""
        response = self.request("GET", path)
        assert response.status == 200, response.data
        return response.json()


class WatchedService(Service):
    """The whole service, its worker with a port of its own."""

    def __init__(self, folder: Path, **environ: str) -> None:
        """As `Service`, on the embedded store."""
        super().__init__(folder, **environ)
        self.worker_port = free_port()

    def command(self) -> list[str]:
        """See `Service`."""
        return [*super().command(), "--worker-port", str(self.worker_port)]

    def worker(self, path: str) -> urllib3.BaseHTTPResponse:
        """GET what the worker answers."""
        return self._http.request("GET", f"http://{HOST}:{self.worker_port}{path}", timeout=urllib3.Timeout(30))

    def counts(self, name: str) -> dict[tuple[str, ...], float]:
        """Give what gateway, query service or worker tell under a name."""
        of_worker = name.startswith("power_worker_")
        response = self.worker("/metrics") if of_worker else self.request("GET", "/metrics")
        return samples(response.data.decode(), name)

    def count(self, name: str) -> float:
        """Give the one figure without labels; as `counts`."""
        return self.counts(name)[()]


class _Server(Protocol):
    def start(self) -> None: ...

    def stop(self) -> int | None: ...


Server = TypeVar("Server", bound=_Server)


@contextmanager
def started(server: Server) -> Iterator[Server]:
    """Start a server, and stop it at the end, which has to end it in good order."""
    server.start()
    try:
        yield server
    finally:
        status = server.stop()
    assert not status, f"ended with status {status}"


def send_mqtt(service: Service, batch: dict[str, Any]) -> None:
    topic = f"ships/{batch['spaceship_id']}/readings"
    paho.single(topic, json.dumps(batch), qos=1, hostname=HOST, port=service.mqtt_port)
