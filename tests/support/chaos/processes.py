"""The real processes, each started by itself as compose starts them, to be killed, stopped and started again."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from power_cli import mosquitto
from power_cli.up import HOST, ROOT
from shared.domain.errors import Unavailable
from tests.support.postgres import Postgres, children_of
from tests.support.rabbitmq import Node

PORTS = range(20_000, 32_000)
"""Below those that the system gives to clients: while a server is away, one that knocks at its port could get it."""
STOP_S = 30
LAST_WORDS = 600
NODE, OWNER = "node", "owner"
"""Kinds: a node of a broker with several, and a worker of which there are several."""


def port() -> int:
    """Give a port that nothing listens on, and that no client gets by chance."""
    for candidate in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, candidate)):
                return candidate
    raise Unavailable(f"no free port among {PORTS.start} to {PORTS.stop}")


class Victim:
    """One process.

    Attributes:
        name: for people.
        kind: how the killer treats it; see there.

    """

    def __init__(  # noqa: PLR0913  # what a process is started with
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        *,
        kind: str = "",
        stops_at: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Prepare; `start` starts it. What it writes is added to a log."""
        self.name, self.log, self.kind, self._stops_at = name, log, kind, stops_at
        self._command, self._environ = command, environ
        self._process: subprocess.Popen[bytes] | None = None
        self.is_stopped = False

    @property
    def runs(self) -> bool:
        """Whether it is there, stopped or not."""
        return self._process is not None

    @property
    def is_well(self) -> bool:
        """Whether it runs and serves; where that takes a while after the start, it is seen from outside."""
        return self.runs and not self.is_stopped

    def start(self) -> None:
        """Start it."""
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env={**os.environ, **self._environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is for us
            )

    def ended(self) -> str:
        """Say how it has ended by itself; an empty text where it has not."""
        status = None if self._process is None else self._process.poll()
        if status is None:
            return ""
        self._process = None
        last = self.log.read_text("utf-8", "replace").strip()[-LAST_WORDS:]
        return f"{self.name} ended by itself with status {status}; its log ends: {last}"

    def kill(self) -> None:
        """End it at once, stopped or not."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process, self.is_stopped = None, False

    def stop(self) -> None:
        """Have it stand still."""
        self._signal(signal.SIGSTOP)
        self.is_stopped = True

    def go_on(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)
        self.is_stopped = False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _ask_to_end(self) -> None:
        self._signal(self._stops_at)

    def end(self) -> int:
        """Ask it to end, and give its status; where it does not in time, end it."""
        if self._process is None:
            return 0
        self.go_on()
        self._ask_to_end()
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL
        finally:
            self.kill()


def broker(folder: Path, at: int) -> Victim:
    """Prepare a Mosquitto as `./power up` has it, but without storage: killed, it has lost all it had."""
    program = mosquitto.find_or_install()
    path = mosquitto.configure(folder / "mosquitto", at)
    stored = ("persistence true", "persistence_location", "autosave_interval")
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith(stored)]
    path.write_text("\n".join([*lines, "persistence false", ""]), "utf-8")
    return Victim("broker", [program, "-c", str(path)], {}, folder / "broker.log")


class RabbitMqNode(Victim):
    """A node of a RabbitMQ."""

    def __init__(self, node: Node) -> None:
        """Prepare; the others of its cluster are victims of their own."""
        super().__init__(f"rabbitmq {node.name.partition('@')[0]}", (), {}, node.log, kind=NODE)
        self._node = node

    @property
    def is_well(self) -> bool:
        """See `Victim`: it listens for MQTT last."""
        with socket.socket() as probe:
            return super().is_well and probe.connect_ex((HOST, self._node.mqtt_port)) == 0

    def _spawn(self) -> subprocess.Popen[bytes]:
        return self._node.start()

    def end(self) -> int:
        """End it at once: to leave a cluster in order takes long, and is not what is tested."""
        self.kill()
        return 0


class PostgresServer(Victim):
    """A PostgreSQL with all its processes."""

    def __init__(self, postgres: Postgres) -> None:
        """Prepare."""
        super().__init__("postgresql", (), {}, postgres.log)
        self._postgres = postgres

    def _spawn(self) -> subprocess.Popen[bytes]:
        return self._postgres.spawn()

    def kill(self) -> None:
        """End all its processes at once; none can start another one meanwhile."""
        if self._process is None:
            return
        super()._signal(signal.SIGSTOP)
        rest = children_of(self._process.pid)
        super().kill()
        for pid in rest:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        super()._signal(number)
        for pid in children_of(self._process.pid) if self._process is not None else []:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _ask_to_end(self) -> None:
        super()._signal(signal.SIGINT)  # at SIGTERM it would wait for its clients


def service(  # noqa: PLR0913, PLR0917  # what a process is started with
    name: str,
    module: str,
    environ: Mapping[str, str],
    folder: Path,
    fault: str | None = None,
    kind: str = "",
) -> Victim:
    """Prepare one of our services, perhaps with a fault in it."""
    python = [sys.executable, "-P", "-m"]
    command = [*python, "tests.support.chaos.faults", fault, module] if fault else [*python, module]
    return Victim(name, command, environ, folder / f"{name}.log", kind=kind)
