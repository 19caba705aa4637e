"""Access tokens through the whole service: who is let in, while tokens come and go."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from power_cli.up import ROOT
from tests.support.servers import HOST, Service, WatchedService, free_port
from tests.support.waiting import until

BATCH = {"spaceship_id": 42, "units": "kWh", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 12}]}
OTHER = {**BATCH, "spaceship_id": 7}


def _power(*arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "power_cli", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


class Door:
    """A service that asks for tokens, and its file of them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tokens.jsonl"
        self.admin = self.add("admin")
        self.service = WatchedService(folder / "data", POWER_API_TOKENS_FILE=str(self.file))

    def add(self, role: str, *options: str) -> str:
        done = _power("token", "add", "--role", role, *options, "--file", self.file)
        assert done.returncode == 0, done.stderr
        return done.stdout.removesuffix("\n")

    def remove(self, name: str) -> None:
        assert _power("token", "remove", name, "--file", self.file).returncode == 0

    def post(self, token: str, batch: object = BATCH) -> int:
        return self.service.post(batch, Authorization=f"Bearer {token}").status

    def get(self, token: str, path: str = "/topusers") -> int:
        return self.service.request("GET", path, headers={"Authorization": f"Bearer {token}"}).status

    def tool(self, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        return _power(*arguments, "--url", f"http://{HOST}:{self.service.port}", **environ)


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One for all tests: each adds tokens of its own."""
    door = Door(tmp_path_factory.mktemp("door"))
    door.service.start()
    yield door
    assert door.service.stop() == 0


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong-1234"}])
def test_without_a_good_token_all_is_401(door: Door, headers: dict[str, str]) -> None:
    refusals = [
        door.service.post(BATCH, **headers),
        *[
            door.service.request("GET", path, headers=headers)
            for path in ("/topusers", "/data/fleet", "/dead-letters", "/nowhere")
        ],
    ]
    for each in refusals:
        assert each.status == 401
        assert each.headers["WWW-Authenticate"] == "Bearer"
        assert each.headers["Content-Type"] == "application/problem+json"
        assert each.json()["title"] == "Unauthorized"
        assert b"1234" not in each.data
    assert "wrong-1234" not in door.service.said()


@pytest.mark.parametrize("process", ["http", "worker"])
def test_health_asks_nobody_and_metrics_ask_for_a_reader(door: Door, process: str) -> None:
    port = door.service.worker_port if process == "worker" else door.service.port

    def status(path: str, token: str | None = None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return urllib3.request("GET", f"http://{HOST}:{port}{path}", headers=headers, retries=False).status

    reader, sender = door.add("read"), door.add("ingest")
    assert status("/healthz") == 200
    until(lambda: status("/readyz") == 200, "it is ready")
    assert status("/metrics") == 401
    until(lambda: status("/metrics", sender) == 403, "the tokens are known")
    assert status("/metrics", reader) == status("/metrics", door.admin) == 200


def test_a_token_counts_without_a_restart_until_it_is_removed(door: Door) -> None:
    token = door.add("read", "--name", "guest")
    until(lambda: door.get(token) == 200, "the token is known")
    assert door.post(token) == 403
    assert door.get(door.admin) == 200
    door.remove("guest")
    until(lambda: door.get(token) == 401, "the token is known no more")
    assert door.get(door.admin) == 200
    assert token not in door.service.said()


def test_the_open_streams_of_a_removed_token_end(door: Door) -> None:
    """In good order: its last chunk is the end."""
    token = door.add("read", "--name", "listener")
    until(lambda: door.get(token) == 200, "the token is known")
    url = f"http://{HOST}:{door.service.port}/data/stream?spaceship_id=1"
    headers = {"Authorization": f"Bearer {token}"}
    with urllib3.request("GET", url, headers=headers, preload_content=False, timeout=20, retries=False) as stream:
        assert stream.readline() == b"retry: 2000\n"
        door.remove("listener")
        assert stream.read() == b"\n"
    assert door.get(door.admin, "/data/fleet") == 200


def test_a_ships_token_sends_its_own_readings_only(door: Door) -> None:
    token = door.add("ingest", "--ships", "42")
    until(lambda: door.post(token) == 202, "the token is known")
    refusal = door.service.post(OTHER, Authorization=f"Bearer {token}")
    assert (refusal.status, refusal.json()["detail"]) == (403, "this token is not for readings of ship 7")
    assert door.get(token) == 403
    assert door.post(door.admin, OTHER) == 202


def test_a_broken_file_keeps_those_who_are_known_and_is_logged(door: Door) -> None:
    good = door.file.read_text("utf-8")
    door.file.write_text("not a token\n", "utf-8")
    until(lambda: door.get(door.admin) == 200 and f"{door.file}:1: " in door.service.said(), "the log says so")
    door.file.write_text(good, "utf-8")
    token = door.add("read")
    until(lambda: door.get(token) == 200, "the file counts again")


def test_the_tools_send_the_token_of_their_environment(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    path.write_text("datetime,kw\n2024-02-01T00:00:00Z,1\n", "utf-8")
    token = door.add("ingest", "--name", "tools")
    until(lambda: door.post(token) == 202, "the token is known")
    imported = door.tool("import", path, "--ship", "9", "--units", "kW", POWER_API_TOKEN=token)
    assert imported.returncode == 0, imported.stderr
    simulated = door.tool("simulate", "--ships", "1", "--days", "1", POWER_API_TOKEN=token)
    assert simulated.returncode == 0, simulated.stderr


@pytest.mark.parametrize("environ", [{}, {"POWER_API_TOKEN": "wrong-1234"}])
def test_a_tool_that_is_not_known_says_so_in_one_line(door: Door, environ: dict[str, str]) -> None:
    done = door.tool("simulate", "--ships", "1", "--days", "1", **environ)
    assert done.returncode == 1
    url = f"http://{HOST}:{door.service.port}"
    assert done.stderr.splitlines()[-1] == f"{url} requires a valid access token: set POWER_API_TOKEN"
    assert "1234" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tool_that_may_not_says_why_in_one_line(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    path.write_text("datetime,kw\n2024-02-01T00:00:00Z,1\n", "utf-8")
    token = door.add("ingest", "--ships", "42,43")
    until(lambda: door.post(token) == 202, "the token is known")
    done = door.tool("import", path, "--ship", "9", "--units", "kW", POWER_API_TOKEN=token)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"the service refuses {path}:2-2: this token is not for readings of ship 9"


def test_a_ships_token_deletes_its_own_readings_only(door: Door) -> None:
    token = door.add("ingest", "--ships", "44")
    until(lambda: door.post(token, {**BATCH, "spaceship_id": 44}) == 202, "the token is known")
    span = ("--start", "2018-08-24T00:00:00Z", "--end", "2018-08-25T00:00:00Z")
    done = door.tool("delete", "--ship", "9", *span, POWER_API_TOKEN=token)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "the service refuses the deletion: this token is not for readings of ship 9"
    done = door.tool("delete", "--ship", "44", *span, POWER_API_TOKEN=token)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("service", ["ingest_api", "normalizer_worker", "query_api"])
def test_beyond_this_machine_no_service_starts_without_tokens(service: str, tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "POWER_HTTP_HOST": "0.0.0.0", "POWER_DATA_DIR": str(tmp_path)}
    environ["POWER_HTTP_PORT"] = str(free_port())
    command = [sys.executable, "-P", "-m", service]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    why = "POWER_HTTP_HOST can be reached from other machines, so POWER_API_TOKENS_FILE must be set"
    assert (done.returncode, done.stderr) == (2, f"{why}\n")


def test_a_missing_file_of_tokens_stops_the_service_with_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing.jsonl"
    own = Service(tmp_path / "data", POWER_API_TOKENS_FILE=str(missing))
    done = subprocess.run(own.command(), env=own._environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert f"cannot read the access tokens in {missing}: No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr
