"""InfluxDB 2 in a container, wherever there are a container engine and the image."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from influxdb_client.client.influxdb_client import InfluxDBClient
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from shared.domain.errors import InvalidSettings, Unavailable
from shared.store.influx.server import Account, Server
from tests.support.programs import NO_ENGINE
from tests.support.waiting import until

IMAGE = "influxdb:2.9.1"
ORG, PORT = "fleet", 8086
PULL_S = 300


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask the engine by its own program: its library leaves a socket open where there is none."""
    command = ["docker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PULL_S, check=False)


def _have_images() -> None:
    """Pull the image and testcontainers' own (it removes containers) if needed; skip with a reason if that fails."""
    if shutil.which("docker") is None or _docker("info", "--format", "{{.ServerVersion}}").returncode:
        pytest.skip(NO_ENGINE)
    for image in (IMAGE, testcontainers_config.ryuk_image):
        if _docker("image", "inspect", image).returncode:
            pulled = _docker("pull", "--quiet", image)
            if pulled.returncode:
                pytest.skip(f"the image {image} is not here and cannot be pulled: {pulled.stderr.strip()}")


class InfluxDbContainer:
    """A running InfluxDB 2, set up with an organisation and a token."""

    def __init__(self, url: str, token: str) -> None:
        """Know where it is."""
        self.url, self.token = url, token
        self._buckets = 0

    def bucket(self) -> Account:
        """Make a bucket, which there is no InfluxQL for."""
        self._buckets += 1
        account = Account(self.url, f"contract{self._buckets}", self.token, ORG)
        with InfluxDBClient(self.url, token=self.token, org=ORG) as client:
            client.buckets_api().create_bucket(bucket_name=account.bucket, org=ORG)
        return account

    def answers(self) -> bool:
        """Tell whether it is there and is really an InfluxDB 2 (a stand-in of the same name may not be)."""
        server = Server(Account(self.url, "first", self.token, ORG))
        try:
            server.check()
        except (Unavailable, InvalidSettings):
            return False
        finally:
            server.close()
        return True


@contextmanager
def influxdb_container() -> Iterator[InfluxDbContainer]:
    """Run one, as the image sets it up."""
    _have_images()
    token = secrets.token_hex(16)
    environ = {
        "DOCKER_INFLUXDB_INIT_MODE": "setup",
        "DOCKER_INFLUXDB_INIT_USERNAME": "admin",
        "DOCKER_INFLUXDB_INIT_PASSWORD": secrets.token_hex(16),
        "DOCKER_INFLUXDB_INIT_ORG": ORG,
        "DOCKER_INFLUXDB_INIT_BUCKET": "first",
        "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN": token,
    }
    with DockerContainer(IMAGE, env=environ, ports=[PORT]) as container:
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(PORT)}"
        server = InfluxDbContainer(url, token)
        until(server.answers, f"{IMAGE} answers", deadline_s=60)
        yield server
