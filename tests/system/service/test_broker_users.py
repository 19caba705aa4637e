"""The services by themselves, as containers run them, around a broker that asks who is there."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import urllib3

from power_cli.broker_users import password_name
from power_cli.up import ROOT
from tests.support.authenticated_broker import AuthenticatedBroker, BrokerClient
from tests.support.servers import HOST, free_port
from tests.support.waiting import until

HOUR = [{"datetime": "2018-08-24T00:00:00Z", "value": 12}, {"datetime": "2018-08-24T01:00:00Z", "value": 26}]


class Command:
    """A command of the project, with settings for a broker and a user of it."""

    def __init__(self, broker: AuthenticatedBroker, user: str, folder: Path) -> None:
        self.port = free_port()
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "POWER_MQTT_HOST": HOST,
            "POWER_MQTT_PORT": str(broker.tls_port),
            "POWER_MQTT_CA_FILE": str(broker.certificate),
            "POWER_MQTT_USERNAME": user,
            "POWER_MQTT_PASSWORD_FILE": str(broker.secrets / password_name(user)),
            "POWER_HTTP_PORT": str(self.port),
            "POWER_WORKER_HTTP_PORT": str(self.port),
            "POWER_DATA_DIR": str(folder),
        }

    def run(self, *module: str) -> subprocess.CompletedProcess[str]:
        """Run a module that ends by itself."""
        command = [sys.executable, "-P", "-m", *module]
        return subprocess.run(command, env=self.environ, capture_output=True, text=True, timeout=30, check=False)

    def start(self, module: str, stack: ExitStack) -> None:
        """Run a service until the end of a test."""
        process = stack.enter_context(subprocess.Popen([sys.executable, "-P", "-m", module], env=self.environ))
        stack.callback(process.terminate)

    def get(self, path: str) -> urllib3.BaseHTTPResponse | None:
        """Ask it, if it is there."""
        try:
            return urllib3.request("GET", f"http://{HOST}:{self.port}{path}", retries=False)
        except urllib3.exceptions.HTTPError:
            return None


def _answers(command: Command, path: str) -> urllib3.BaseHTTPResponse:
    def good() -> urllib3.BaseHTTPResponse | None:
        response = command.get(path)
        return response if response is not None and response.status == 200 else None

    return until(good, f"GET {path}")


@pytest.mark.parametrize("module", ["ingest_api", "power_cli.http"])
def test_readings_get_through_from_gateway_and_ship(
    authenticated: AuthenticatedBroker, tmp_path: Path, module: str
) -> None:
    """With passwords from files, over TLS; the ship has just got its own."""
    ship = 42 if module == "ingest_api" else 43
    gateway = Command(authenticated, "gateway", tmp_path)
    worker = Command(authenticated, "worker", tmp_path)
    admin = Command(authenticated, "admin", tmp_path)
    admin.environ["POWER_MQTT_ADMIN_PASSWORD_FILE"] = str(authenticated.secrets / password_name("admin"))
    with ExitStack() as stack:
        worker.start("normalizer_worker", stack)
        gateway.start(module, stack)
        for each in (gateway, worker):
            _answers(each, "/readyz")
        batch = {"spaceship_id": 1, "units": "kWh", "data": HOUR}
        response = urllib3.request("POST", f"http://{HOST}:{gateway.port}/data", json=batch)
        assert response.status == 202
        password = admin.run("power_cli", "ship", "add", str(ship)).stdout.strip()
        with BrokerClient(authenticated.port, f"ship-{ship}", password) as client:
            assert client.connect() == "Success"
            payload = json.dumps({"units": "kWh", "data": HOUR}).encode()
            assert client.publish(f"ships/{ship}/readings", payload) == "Success"
        until(lambda: "power_worker_messages_total 2.0" in _answers(worker, "/metrics").data.decode(), "both stored")


def test_a_worker_with_a_wrong_password_stops_and_says_in_one_line_why(
    authenticated: AuthenticatedBroker, tmp_path: Path
) -> None:
    worker = Command(authenticated, "worker", tmp_path)
    del worker.environ["POWER_MQTT_PASSWORD_FILE"]
    worker.environ["POWER_MQTT_PASSWORD"] = "wrong"  # noqa: S105  # of this test alone
    done = worker.run("normalizer_worker")
    assert done.returncode == 2
    assert done.stderr == (
        "the broker refuses the connection: Not authorized;"
        " check POWER_MQTT_USERNAME and POWER_MQTT_PASSWORD, or POWER_BROKER_URL\n"
    )
