"""docker-compose.yml for tests: the programs that read it, and a copy of it that runs beside anything else."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from power_cli.digests import images
from power_cli.init import make
from power_cli.up import ROOT
from tests.support.programs import NO_ENGINE, need
from tests.support.servers import free_port
from tests.support.waiting import until

COPIED = (
    *("docker-compose.yml", "Dockerfile", ".dockerignore", "requirements.lock"),
    *("shared", "ingest_api", "normalizer_worker", "query_api"),
    *("edge", "grafana", "influxdb", "mosquitto", "prometheus"),
)
PORTS = ("POWER_PORT", "POWER_MQTT_PORT", "POWER_GRAFANA_PORT", "POWER_TLS_PORT", "POWER_MQTTS_PORT")
START_S = 300.0


def programs() -> Iterator[list[str]]:
    """Give every compose that there is: version 1 is a program of its own, later ones belong to docker."""
    if shutil.which("docker-compose"):
        yield ["docker-compose"]
    if shutil.which("docker") and _run(["docker", "compose", "version"]).returncode == 0:
        yield ["docker", "compose"]


def any_program() -> list[str]:
    """Give the newest compose; without any, skip on a laptop and fail in CI."""
    found = list(programs())
    return found[-1] if found else [need("docker-compose")]


def need_engine() -> None:
    """Skip where no containers can be run."""
    if not shutil.which("docker"):
        pytest.skip(f"{NO_ENGINE}: docker is not installed")
    info = _run(["docker", "info", "--format", "{{.ServerVersion}}"])
    if info.returncode != 0 or not info.stdout.strip():
        pytest.skip(f"{NO_ENGINE}: {info.stderr.strip().splitlines()[-1:]}")


class Fleet:
    """The whole of docker-compose.yml, in a folder, on ports and under a name of its own."""

    def __init__(self, folder: Path) -> None:
        """Copy what it needs, as a checkout has it, and make its secrets."""
        self.folder = folder
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        make(folder)
        self.ports = {name: free_port() for name in PORTS}
        settings = {
            "COMPOSE_PROJECT_NAME": f"power-test-{os.getpid()}",
            "POWER_TLS_BIND_ADDRESS": "127.0.0.1",
            **{name: str(port) for name, port in self.ports.items()},
        }
        file = folder / ".env"
        text = file.read_text("utf-8")
        for name, value in settings.items():
            text = re.sub(rf"(?m)^{name}=.*$", f"{name}={value}", text)
        file.write_text(text, "utf-8")
        self._program = any_program()

    def secret(self, name: str) -> str:
        """Give what stands in one of the files of secrets."""
        return (self.folder / "secrets" / name).read_text("utf-8").strip()

    def compose(self, *arguments: str) -> str:
        """Have compose do something, and give what it printed."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("POWER_", "INFLUXDB_"))}
        done = subprocess.run(
            [*self._program, *arguments], cwd=self.folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-5000:]
        return done.stdout

    def get_images(self) -> None:
        """Have every image at hand, or skip."""
        at_hand = _run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]).stdout.split()
        for _, image in images(self.folder):
            if image in at_hand:
                continue
            if _run(["docker", "pull", "--quiet", image]).returncode != 0:
                pytest.skip(f"the image {image} cannot be had")

    def up(self) -> None:
        """Start all of it, and wait until each container is healthy."""
        self.compose("up", "-d")
        until(lambda: set(self.health().values()) == {"healthy"}, "all are healthy", START_S)

    def containers(self) -> dict[str, str]:
        """Give the containers' identifiers by the names of their services."""
        return {name: self.compose("ps", "-q", name).strip() for name in self.compose("config", "--services").split()}

    def health(self) -> dict[str, str]:
        """Give what the health checks say."""
        return {name: self.inspect(each, ".State.Health.Status") for name, each in self.containers().items()}

    def inspect(self, container: str, what: str) -> str:
        """Ask the engine about a container."""
        return _run(["docker", "inspect", "--format", f"{{{{{what}}}}}", container]).stdout.strip()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
