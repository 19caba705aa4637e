"""The compose files for tests: the programs that read them, and copies that run beside anything else."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from power_cli.digests import images
from power_cli.init import make
from power_cli.up import ROOT
from tests.support.programs import NO_ENGINE, need
from tests.support.servers import HOST, free_port
from tests.support.waiting import until

COPIED = (
    *("docker-compose.yml", "Dockerfile", ".dockerignore", "requirements.lock"),
    *("shared", "ingest_api", "normalizer_worker", "query_api", "power_cli"),
    *("edge", "grafana", "influxdb", "mosquitto", "prometheus"),
)
CLUSTER = "docker-compose.cluster.yml"
COPIED_FOR_CLUSTER = (CLUSTER, "rabbitmq", "postgres")
PORTS = ("POWER_PORT", "POWER_MQTT_PORT", "POWER_GRAFANA_PORT", "POWER_TLS_PORT", "POWER_MQTTS_PORT")
START_S = 300.0
ONCE = {"declare"}
"""Services that end by themselves."""


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
    """The whole of docker-compose.yml, or of that of a cluster, in a folder, on ports and under a name of its own."""

    def __init__(self, folder: Path, *, cluster: bool = False) -> None:
        """Copy what it needs, as a checkout has it, and make its secrets."""
        self.folder, self._file = folder, CLUSTER if cluster else "docker-compose.yml"
        for name in (*COPIED, *(COPIED_FOR_CLUSTER if cluster else ())):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        make(folder, cluster=cluster)
        self.ports = {name: free_port() for name in (*PORTS, *(["POWER_RABBITMQ_PORT"] if cluster else []))}
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
        for _, image in images(self.folder, self._file):
            if image in at_hand:
                continue
            if _run(["docker", "pull", "--quiet", image]).returncode != 0:
                pytest.skip(f"the image {image} cannot be had")
        self.compose("build", *(["declare"] if self._file == CLUSTER else ["ingest_api"]))  # of the code as it is

    def up(self) -> None:
        """Start all of it, and wait until each container is healthy."""
        self.compose("up", "-d")
        until(lambda: set(self.health().values()) == {"healthy"}, "all are healthy", START_S)

    def containers(self) -> dict[str, str]:
        """Give the containers' identifiers by the names of their services, with a number where there are several."""
        found: dict[str, str] = {}
        for name in self.compose("config", "--services").split():
            ids = self.compose("ps", "-q", name).split()
            found |= {f"{name}{number or ''}": each for number, each in enumerate(ids)}
        return found

    def health(self) -> dict[str, str]:
        """Give what the health checks say; what has done its work and ended has none."""
        health = {name: self.inspect(each, ".State.Health.Status") for name, each in self.containers().items()}
        return {name: each for name, each in health.items() if name not in ONCE}

    def await_health(self, container: str) -> None:
        """Wait until a container is healthy."""
        until(lambda: self.inspect(container, ".State.Health.Status") == "healthy", "it is healthy", START_S)

    def request(
        self, method: str, path: str, token: str, batch: object = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Send a request to the edge."""
        url = f"http://{HOST}:{self.ports['POWER_PORT']}{path}"
        all_headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **headers}
        body = json.dumps(batch).encode() if batch else None
        return urllib3.request(method, url, body=body, headers=all_headers, timeout=70, retries=False)

    def inspect(self, container: str, what: str) -> str:
        """Ask the engine about a container."""
        return _run(["docker", "inspect", "--format", f"{{{{{what}}}}}", container]).stdout.strip()


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def config_of(file: str, section: str = "services") -> dict[str, str]:
    """Give each part of a section of what compose makes of a file of the repository."""
    command = [*any_program(), "-f", file, "config"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = re.search(rf"(?ms)^{section}:\n(.*?)(?=^\S|\Z)", text)
    assert found
    parts = re.split(r"(?m)^  (\w+):", found[1])
    return dict(zip(parts[1::2], parts[2::2], strict=True))
