"""docker-compose.yml: that compose takes it, what it promises of every container, and the whole of it for real."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

import pytest
import urllib3
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from power_cli.up import ROOT
from tests.support.compose import Fleet, any_program, need_engine, programs
from tests.support.servers import HOST
from tests.support.waiting import until

OURS = {"ingest_api", "normalizer_worker", "query_api"}
ALL = OURS | {"mosquitto", "influxdb", "edge", "prometheus", "grafana"}
PINNED = r"[a-z0-9/._-]+:v?\d+\.\d+\.\d+(-[a-z0-9.-]+)?(@sha256:[0-9a-f]{64})?"
OUTSIDE = {"ships", "people"}
"""The networks that lead out of the machine."""
TALKS = {
    ("edge", "ingest_api"),
    ("edge", "query_api"),
    ("edge", "normalizer_worker"),
    ("edge", "mosquitto"),
    ("ingest_api", "mosquitto"),
    ("normalizer_worker", "mosquitto"),
    ("normalizer_worker", "influxdb"),
    ("query_api", "influxdb"),
    ("grafana", "influxdb"),
    ("grafana", "prometheus"),
    ("prometheus", "ingest_api"),
    ("prometheus", "normalizer_worker"),
    ("prometheus", "query_api"),
}
"""Who opens connections to whom."""
NEIGHBOURS = {frozenset(pair) for pair in combinations(sorted(OURS), 2)} | {
    frozenset(("grafana", name)) for name in OURS
}
"""Who need nothing of each other, and share a network all the same: those that Prometheus asks, and Grafana."""


def _config(section: str = "services") -> dict[str, str]:
    """Give each part of a section of what compose makes of the file."""
    command = [*any_program(), "config"]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = re.search(rf"(?ms)^{section}:\n(.*?)(?=^\S|\Z)", text)
    assert found
    parts = re.split(r"(?m)^  (\w+):", found[1])
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _networks() -> dict[str, set[str]]:
    """Give the networks of each service."""
    found = {name: re.search(r"(?m)^    networks:\n((?:      \w+: .*\n)+)", text) for name, text in _config().items()}
    return {name: set(re.findall(r"(\w+):", each[1])) if each else {"default"} for name, each in found.items()}


def test_every_compose_takes_the_file() -> None:
    """Also before `./power init`, as in a new clone."""
    any_program()
    for program in programs():
        done = subprocess.run([*program, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), program


def test_every_service_is_pinned_checked_limited_and_restarted() -> None:
    services = _config()
    assert set(services) == ALL
    for name, text in services.items():
        image = re.search(r"(?m)^    image: (\S+)$", text)
        assert image, name
        assert re.fullmatch(PINNED, image[1]), name
        assert "restart: unless-stopped" in text, name
        assert re.search(r"mem_limit: \S+", text), name
        assert re.search(r"cpus: 1(\.0)?$", text, re.MULTILINE), name  # more than the machine has is refused
        assert "read_only: true" in text, name
        assert "max-size: 10m" in text, name
        assert re.search(r"cap_drop:\n +- ALL", text), name
        assert "no-new-privileges:true" in text, name
        assert "healthcheck:" in text or name in OURS, name  # theirs is in the image
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text("utf-8")


def test_the_images_that_ours_is_made_of_are_pinned() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8")
    assert re.findall(r"(?m)^FROM (\S+)", text) == ["${BASE}", "${BASE}"]
    base = re.search(r"(?m)^ARG BASE=(\S+)$", text)
    assert base
    assert re.fullmatch(PINNED, base[1])


def test_containers_share_a_network_with_those_that_they_talk_to_and_with_no_others() -> None:
    networks = _networks()
    shared = {
        frozenset(pair) for pair in combinations(sorted(ALL), 2) if networks[pair[0]] & networks[pair[1]] - {"ships"}
    }
    assert shared == {frozenset(pair) for pair in TALKS} | NEIGHBOURS


def test_only_who_publishes_a_port_is_on_a_network_that_leads_out() -> None:
    leads_out = {name for name, text in _config("networks").items() if "internal: true" not in text}
    assert leads_out == OUTSIDE
    networks = _networks()
    for name, text in _config().items():
        assert bool(networks[name] & OUTSIDE) == ("    ports:\n" in text), name
    assert [name for name, each in networks.items() if "people" in each] == ["grafana"]


def test_what_influxdbs_setup_leaves_behind_is_kept_in_no_volume() -> None:
    """The administrator's token, in clear, in the folder that `mktemp` makes."""
    text = _config()["influxdb"]
    assert re.search(r"tmpfs:\n +- /tmp:size=64m\n", text)
    assert not re.search(r":/tmp\W|target: /tmp", text)


def test_influxdb_is_stopped_by_the_signal_that_it_handles() -> None:
    """SIGTERM ends it as a crash does."""
    assert "stop_signal: SIGINT" in _config()["influxdb"]


def test_no_secret_stands_in_the_file_or_in_the_environment_of_a_container() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    for name, value in re.findall(r"(?m)^ +(\w*(?:PASSWORD|TOKEN|SECRET)\w*): (.+)$", text):
        assert name.endswith(("_FILE", "TOKENS_FILE")), name
        assert value.startswith("/run/"), name


def test_no_command_line_of_a_container_names_a_secret() -> None:
    """A command, an entry point or a health check that reads one would show it to every user of the machine."""
    for name, text in _config().items():
        for part in re.findall(r"(?m)^    (?:command|entrypoint|healthcheck):.*\n(?:(?:    -|      ).*\n)*", text):
            assert not re.search(r"(?i)password|token|secret(?!s mosquitto_sub)|--user|\$\$\(", part), name


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """All of it, running."""
    need_engine()
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    fleet.get_images()
    try:
        fleet.up()
        yield fleet
    finally:
        fleet.compose("down", "--volumes")


def _request(fleet: Fleet, method: str, path: str, token: str, batch: object = None) -> urllib3.BaseHTTPResponse:
    url = f"http://{HOST}:{fleet.ports['POWER_PORT']}{path}"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps(batch).encode() if batch else None
    return urllib3.request(method, url, body=body, headers=headers, timeout=30, retries=False)


def _energy(fleet: Fleet, ship: int) -> object:
    response = _request(fleet, "GET", f"/data?spaceship_id={ship}", fleet.secret("api_admin_token"))
    return response.json()["data"] if response.status == 200 else None


def _power(fleet: Fleet, *arguments: str, **environ: str) -> str:
    command = [sys.executable, "-P", "-m", "power_cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    done = subprocess.run(
        command, cwd=fleet.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _batch(ship: int) -> dict[str, object]:
    return {"spaceship_id": ship, "units": "kWh", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 12}]}


@contextmanager
def _connected(port: int, ship: int, password: str) -> Iterator[tuple[Client, bool]]:
    """Connect as a ship, and tell whether the broker refuses that."""
    codes: list[bool] = []
    client = Client(CallbackAPIVersion.VERSION2, f"ship-{ship}", protocol=MQTTProtocolVersion.MQTTv5)
    client.on_connect = lambda _c, _u, _f, code, _p: codes.append(code.is_failure)
    client.username_pw_set(f"ship-{ship}", password)
    client.connect(HOST, port)
    client.loop_start()
    try:
        until(lambda: codes, "the broker answers")
        yield client, codes[0]
    finally:
        client.disconnect()
        client.loop_stop()


SLOT = [{"datetime": "2018-08-24T00:00:00Z", "value": 12}]


@pytest.mark.engine
def test_a_batch_becomes_energy_with_a_token_made_while_it_runs(fleet: Fleet, ship: int) -> None:
    tokens = str(fleet.folder / "secrets" / "api" / "tokens.jsonl")
    token = _power(fleet, "token", "add", "--role", "ingest", "--ships", str(ship), "--file", tokens)
    until(lambda: _request(fleet, "POST", "/data", token, _batch(ship)).status == 202, "the token is known")
    assert _request(fleet, "POST", "/data", "wrong", _batch(ship)).status == 401
    assert _request(fleet, "GET", "/topusers", token).status == 403
    until(lambda: _energy(fleet, ship) == SLOT, "the energy can be asked for")


@pytest.mark.engine
def test_a_ship_sends_over_mqtt_with_its_password_and_nobody_without(fleet: Fleet, ship: int) -> None:
    admin = str(fleet.folder / "secrets" / "mqtt_admin_password")
    port = fleet.ports["POWER_MQTT_PORT"]
    environ = {"POWER_MQTT_PORT": str(port), "POWER_MQTT_ADMIN_PASSWORD_FILE": admin}
    password = _power(fleet, "ship", "add", str(ship), **environ)
    with _connected(port, ship, "wrong") as (_, refused):
        assert refused
    with _connected(port, ship, password) as (client, refused):
        assert not refused
        told = client.publish(f"ships/{ship}/readings", json.dumps(_batch(ship)), qos=1)
        told.wait_for_publish(20)
        assert told.is_published()
    until(lambda: _energy(fleet, ship) == SLOT, "the energy can be asked for")


@pytest.mark.engine
def test_what_was_stored_outlives_the_containers(fleet: Fleet, ship: int) -> None:
    token = fleet.secret("api_admin_token")
    assert _request(fleet, "POST", "/data", token, _batch(ship)).status == 202
    until(lambda: _energy(fleet, ship) == SLOT, "the energy can be asked for")
    fleet.compose("kill")
    fleet.compose("down")
    fleet.up()
    until(lambda: _energy(fleet, ship) == SLOT, "the energy can be asked for again")


@pytest.mark.engine
def test_what_the_broker_confirmed_outlives_its_container(fleet: Fleet, ship: int) -> None:
    """While the worker is away: the batch is nowhere else."""
    token = fleet.secret("api_admin_token")
    fleet.compose("stop", "normalizer_worker")
    assert _request(fleet, "POST", "/data", token, _batch(ship)).status == 202
    fleet.compose("kill", "mosquitto")
    fleet.compose("rm", "-f", "mosquitto")
    fleet.up()
    until(lambda: _energy(fleet, ship) == SLOT, "the energy can be asked for")


@pytest.mark.engine
def test_no_container_runs_as_root_or_can_write_but_where_it_has_to(fleet: Fleet) -> None:
    for name, container in fleet.containers().items():
        uid = subprocess.run(
            ["docker", "exec", container, "id", "-u"], capture_output=True, text=True, check=True
        ).stdout.strip()
        assert uid != "0", name
        assert fleet.inspect(container, ".HostConfig.ReadonlyRootfs") == "true", name


@pytest.mark.engine
def test_what_keeps_data_ends_in_good_order_when_it_is_stopped(fleet: Fleet) -> None:
    containers = fleet.containers()
    fleet.compose("stop")
    try:
        statuses = {
            name: fleet.inspect(containers[name], ".State.ExitCode") for name in OURS | {"influxdb", "mosquitto"}
        }
        assert set(statuses.values()) == {"0"}, statuses
    finally:
        fleet.up()


CONNECT = """\
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
except OSError:
    sys.exit(1)
"""


@pytest.mark.engine
def test_ours_reach_broker_and_store_only_where_they_need_them(fleet: Fleet) -> None:
    containers = fleet.containers()
    for name in OURS:
        for other, port in (("mosquitto", "1883"), ("influxdb", "8086")):
            command = ["docker", "exec", containers[name], "python", "-c", CONNECT, other, port]
            reached = subprocess.run(command, check=False).returncode == 0
            assert reached == ((name, other) in TALKS), (name, other)


@pytest.mark.engine
def test_prometheus_reads_the_metrics_of_all_three(fleet: Fleet) -> None:
    question = "http://127.0.0.1:9090/api/v1/query?query=sum(up)"
    command = ["docker", "exec", fleet.containers()["prometheus"], "wget", "-q", "-O", "-", question]

    def all_up() -> bool:
        answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return bool(answer["data"]["result"]) and answer["data"]["result"][0]["value"][1] == "3"

    until(all_up, "three are up", 60)
