"""docker-compose.cluster.yml: what it promises of every container, and the whole of it for real.

No batch is refused and none is lost while containers are restarted or killed, one after the other, and when the standby
of PostgreSQL takes over.
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations, count
from pathlib import Path
from typing import Self
from uuid import uuid4

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from power_cli.init import make
from power_cli.up import ROOT
from tests.support.compose import CLUSTER, Fleet, config_of, need_engine
from tests.support.servers import HOST
from tests.support.waiting import until

NODES = {"rabbitmq1", "rabbitmq2", "rabbitmq3"}
SERVERS = {"postgres1", "postgres2"}
GATEWAYS = {"ingest_api1", "ingest_api2"}
QUERIES = {"query_api1", "query_api2"}
OURS = GATEWAYS | QUERIES | {"normalizer_worker"}
ALL = OURS | NODES | SERVERS | {"declare", "edge", "prometheus", "grafana"}
PINNED = r"[a-z0-9/._-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.-]+)?"
OUTSIDE = {"ships", "people"}
FAR_APART = [
    *((other, engine) for other in ("edge", *GATEWAYS, "declare", "prometheus") for engine in SERVERS),
    *((other, node) for other in (*QUERIES, *SERVERS, "grafana") for node in NODES),
]
"""Who share no network: neither ever needs the other."""
DEADLINE_S = 120.0


# What the file says.


def test_every_service_is_pinned_checked_limited_and_restarted() -> None:
    services = config_of(CLUSTER)
    assert set(services) == ALL
    for name, text in services.items():
        image = re.search(r"(?m)^    image: (\S+)$", text)
        assert image, name
        assert re.fullmatch(PINNED, image[1]), name
        assert f"restart: {'on-failure' if name == 'declare' else 'unless-stopped'}" in text, name
        assert re.search(r"mem_limit: \S+", text), name
        assert re.search(r"cpus: 1(\.0)?$", text, re.MULTILINE), name
        assert "read_only: true" in text, name
        assert "max-size: 10m" in text, name
        assert re.search(r"cap_drop:\n +- ALL", text), name
        assert "no-new-privileges:true" in text, name
        assert "healthcheck:" in text or name in GATEWAYS | QUERIES, name  # theirs is in the image


def test_there_are_as_many_as_the_documentation_says() -> None:
    assert "scale: 3" in config_of(CLUSTER)["normalizer_worker"]


def test_only_who_publishes_a_port_is_on_a_network_that_leads_out() -> None:
    leads_out = {name for name, text in config_of(CLUSTER, "networks").items() if "internal: true" not in text}
    assert leads_out == OUTSIDE
    networks = _networks()
    for name, text in config_of(CLUSTER).items():
        assert bool(networks[name] & OUTSIDE) == ("    ports:\n" in text), name


def test_only_who_needs_an_engine_can_reach_it() -> None:
    networks = _networks()
    assert [pair for pair in FAR_APART if networks[pair[0]] & networks[pair[1]]] == []
    for group in (NODES, SERVERS):
        assert all(networks[one] & networks[other] for one, other in combinations(sorted(group), 2))


def _networks() -> dict[str, set[str]]:
    found = {}
    for name, text in config_of(CLUSTER).items():
        section = re.search(r"(?m)^    networks:\n((?:      .*\n)+)", text)
        assert section, name
        found[name] = set(re.findall(r"(?m)^      (\w+):", section[1]))
    return found


def test_init_makes_each_secret_that_it_mounts_and_names_each_setting(tmp_path: Path) -> None:
    made = {path.name for path in make(tmp_path, cluster=True)}
    text = (ROOT / CLUSTER).read_text("utf-8")
    mounted = set(re.findall(r"file: \./secrets/([\w.]+)", text))
    assert mounted
    assert mounted <= made
    lines = (tmp_path / ".env").read_text("utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert settings.pop("COMPOSE_FILE") == CLUSTER
    settings.pop("COMPOSE_PROJECT_NAME")
    assert settings == dict(re.findall(r"(?<!\$)\$\{(\w+):-([^}]*)\}", text))


def test_no_secret_is_in_the_file_or_on_a_command_line() -> None:
    text = (ROOT / CLUSTER).read_text("utf-8")
    for name, value in re.findall(r"(?m)^ +(\w*(?:PASSWORD|TOKEN|SECRET|STORE_URL|BROKER_URL)\w*): (.+)$", text):
        assert name.endswith(("_FILE", "__FILE")), name
        assert value.startswith("/run/"), name
    for name, text in config_of(CLUSTER).items():
        for part in re.findall(r"(?m)^    (?:command|entrypoint|healthcheck):.*\n(?:(?:    -|      ).*\n)*", text):
            assert not re.search(r"(?i)password|token|://\w+:", part), name


# All of it, running.


class Load:
    """A sender that repeats nothing: it posts one batch after the other, and notes each refusal."""

    FIRST = datetime(2020, 1, 1, tzinfo=UTC)

    def __init__(self, fleet: Fleet, ship: int) -> None:
        """Prepare; every batch is one reading of 1 kWh."""
        self._fleet, self._ship, self._token = fleet, ship, fleet.secret("api_admin_token")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0
        self.refused: list[object] = []

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and compare."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        for number in count():
            if self._stop.wait(0.05):
                return
            moment = (self.FIRST + timedelta(minutes=15 * number)).isoformat()
            batch = {"batch_id": str(uuid4()), "spaceship_id": self._ship, "units": "kWh"}
            batch |= {"data": [{"datetime": moment, "value": 1}]}
            try:
                status: object = self._fleet.request("POST", "/data", self._token, batch).status
            except Exception as error:  # whatever it is, the batch was refused  # noqa: BLE001
                status = error
            if status == 202:
                self.sent += 1
            else:
                self.refused.append(status)

    def check(self) -> None:
        """Check that nothing was refused, and that everything that was sent is stored, once."""
        assert self.refused == []
        assert self.sent
        until(lambda: self._stored() == self.sent, f"all {self.sent} are stored", DEADLINE_S)

    def _stored(self) -> float:
        end = (self.FIRST + timedelta(days=365)).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"/data?spaceship_id={self._ship}&start=2020-01-01T00:00:00Z&end={end}"
        response = self._fleet.request("GET", path, self._token)
        return sum(each["value"] for each in response.json()["data"]) if response.status == 200 else -1


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """All of it, running."""
    need_engine()
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), cluster=True)
    fleet.get_images()
    try:
        fleet.up()
        yield fleet
    finally:
        fleet.compose("down", "--volumes")


def _power(fleet: Fleet, *arguments: str) -> str:
    """Run a command of ./power of the copy, which has .env and secrets."""
    command = [sys.executable, "-P", "-m", "power_cli", *arguments]
    environ = {"PYTHONPATH": str(fleet.folder), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        command, cwd=fleet.folder, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _of(fleet: Fleet, names: Sequence[str]) -> list[str]:
    containers = fleet.containers()
    return [containers[name] for name in names]


@pytest.mark.engine
def test_a_batch_becomes_energy_and_either_gateway_tells_its_status(fleet: Fleet, ship: int) -> None:
    token, batch_id = fleet.secret("api_admin_token"), str(uuid4())
    batch = {"batch_id": batch_id, "spaceship_id": ship, "units": "kWh"}
    batch |= {"data": [{"datetime": "2018-08-24T00:00:00Z", "value": 12}]}
    assert fleet.request("POST", "/data", token, batch, Prefer="wait=30").status == 201
    answers = [fleet.request("GET", f"/batches/{batch_id}", token).json()["status"] for _ in range(20)]
    assert set(answers) == {"stored"}
    assert fleet.request("GET", f"/batches/{uuid4()}", token).status == 404
    energy = fleet.request("GET", f"/data?spaceship_id={ship}", token).json()["data"]
    assert energy == [{"datetime": "2018-08-24T00:00:00Z", "value": 12}]
    assert fleet.request("GET", "/dead-letters", token).status == 200


@pytest.mark.engine
def test_a_ship_sends_over_mqtt_with_a_password_made_while_it_runs(fleet: Fleet, ship: int) -> None:
    password = _power(fleet, "ship", "add", str(ship))
    client = Client(CallbackAPIVersion.VERSION2, f"ship-{ship}", protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set(f"ship-{ship}", password)
    client.connect(HOST, fleet.ports["POWER_MQTT_PORT"])
    client.loop_start()
    try:
        batch = {"units": "kWh", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 12}]}
        told = client.publish(f"ships/{ship}/readings", json.dumps(batch), qos=1)
        told.wait_for_publish(20)
        assert told.is_published()
    finally:
        client.disconnect()
        client.loop_stop()
    token = fleet.secret("api_admin_token")
    until(lambda: fleet.request("GET", f"/data?spaceship_id={ship}", token).json().get("data"), "it is stored", 60)


@pytest.mark.engine
def test_every_worker_has_its_share_of_the_partitions(fleet: Fleet) -> None:
    def owners() -> list[str]:
        return [line.split()[1] for line in _power(fleet, "cluster", "status").splitlines()[1:]]

    def is_even() -> bool:
        found = owners()
        return len(found) == 64 and sorted(found.count(each) for each in set(found)) == [21, 21, 22]

    until(is_even, "each of three workers has a third", DEADLINE_S)


@pytest.mark.engine
def test_no_container_runs_as_root_or_can_write_but_where_it_has_to(fleet: Fleet) -> None:
    for name, container in fleet.containers().items():
        assert fleet.inspect(container, ".HostConfig.ReadonlyRootfs") == "true", name
        if name != "declare":
            assert _docker("exec", container, "id", "-u") != "0", name


@pytest.mark.engine
def test_prometheus_reads_the_metrics_of_all(fleet: Fleet) -> None:
    question = "http://127.0.0.1:9090/api/v1/query?query=count%20by%20(job)%20(up%20%3D%3D%201)"
    (prometheus,) = _of(fleet, ["prometheus"])

    def up() -> dict[str, str]:
        answer = json.loads(_docker("exec", prometheus, "wget", "-q", "-O", "-", question))
        return {each["metric"]["job"]: each["value"][1] for each in answer["data"]["result"]}

    until(lambda: up() == {"power": "7", "rabbitmq": "3", "rabbitmq_queues": "3"}, "all are up", 120)


@pytest.mark.engine
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_no_batch_is_refused_or_lost_while_one_after_the_other_is_away(fleet: Fleet, ship: int, how: str) -> None:
    """All but the edge, which is the one entrance."""
    containers = fleet.containers()
    with Load(fleet, ship) as load:
        for name in sorted(set(containers) - {"edge", "declare", "grafana", "prometheus"}):
            if how == "kill":
                _docker("kill", containers[name])
                _docker("start", containers[name])
            else:
                _docker("restart", "--time", "60", containers[name])
            fleet.await_health(containers[name])
    load.check()


@pytest.mark.engine
def test_the_standby_takes_over_and_the_old_primary_follows_it(fleet: Fleet, ship: int) -> None:
    one, two = _of(fleet, ["postgres1", "postgres2"])
    with Load(fleet, ship) as load:
        _docker("kill", one)
        _docker("exec", two, "pg_ctl", "promote", "-D", "/var/lib/postgresql/data/own")
        _docker("start", one)
        standby = "SELECT application_name, sync_state FROM pg_stat_replication"
        until(
            lambda: _docker("exec", two, "psql", "-U", "postgres", "-Atc", standby) == "postgres1|sync",
            "the old primary follows",
            DEADLINE_S,
        )
    load.check()
