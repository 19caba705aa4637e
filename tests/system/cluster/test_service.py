"""The whole service on RabbitMQ and PostgreSQL, while workers are killed, halted and added."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
import urllib3

from shared.domain.slots import Window
from shared.domain.timestamps import iso, moment_us
from shared.store.postgres.store import PostgresStore
from tests.support.cluster import PARTITIONS, Cluster, is_even
from tests.support.cluster_service import ClusterService
from tests.support.postgres import Postgres
from tests.support.processes import PowerProcess
from tests.support.servers import HOST, free_port, started
from tests.support.waiting import until

SHIPS = range(40)
START_US = moment_us("2022-03-01T00:00:00Z")
SLOT_US = 900_000_000


@pytest.fixture
def own(cluster: Cluster, postgres: Postgres, tmp_path: Path) -> Iterator[ClusterService]:
    """A service for one test alone."""
    with started(ClusterService(cluster, tmp_path / "data", postgres.create())) as service:
        yield service


def batch(ship: int, slot: int, value: float) -> dict[str, Any]:
    data = [{"datetime": iso(START_US + slot * SLOT_US), "value": value}]
    return {"spaceship_id": ship, "units": "kWh", "data": data}


def workers(service: ClusterService) -> list[psutil.Process]:
    """Find its workers."""
    found = psutil.Process(service.pid).children()
    return [each for each in found if "normalizer_worker" in " ".join(each.cmdline())]


class Load:
    """Posts a batch of each ship, one slot after the other, to several gateways in turn; each must be accepted."""

    def __init__(self, *ports: int) -> None:
        self.slots = 0
        self._ports = ports
        self._stop = threading.Event()
        self._errors: list[str] = []
        self._http = urllib3.PoolManager(retries=False)

    def _run(self) -> None:
        while not self._stop.is_set():
            for ship in SHIPS:
                url = f"http://{HOST}:{self._ports[ship % len(self._ports)]}/data"
                answer = self._http.request("POST", url, json=batch(ship, self.slots, ship + self.slots))
                if answer.status != 202:
                    self._errors.append(f"{answer.status} {answer.data!r}")
            self.slots += 1
            self._stop.wait(0.2)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Post meanwhile."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
            self._http.clear()
        assert self._errors == []


def seen(service: ClusterService, ship: int) -> list[float]:
    return [row["value"] for row in service.get(f"/data?spaceship_id={ship}")["data"]]


def is_stored(service: ClusterService, slots: int) -> bool:
    return all(seen(service, ship) == [ship + slot for slot in range(slots)] for ship in SHIPS)


def stored_beyond(service: ClusterService, load: Load, deadline_s: float) -> None:
    """Wait until what is posted from now on is stored, of every ship."""
    slots = load.slots + 2
    until(lambda: all(len(seen(service, ship)) >= slots for ship in SHIPS), "all ships are stored", deadline_s)


def test_killed_workers_partitions_are_served_within_seconds(own: ClusterService) -> None:
    load = Load(own.port)
    with load.running():
        stored_beyond(own, load, 30)
        for victim in workers(own)[:2]:
            victim.kill()
            stored_beyond(own, load, 15)
    until(lambda: is_stored(own, load.slots), "every reading", 30)


def test_added_worker_gets_its_share_and_a_second_gateway_publishes_too(own: ClusterService, tmp_path: Path) -> None:
    port = free_port()
    environ = {**own.environ, "POWER_WORKER_HTTP_PORT": "0", "POWER_DATA_DIR": str(tmp_path / "second")}
    gateway = PowerProcess("ingest_api", {**environ, "POWER_HTTP_PORT": str(port)}, tmp_path / "gateway.log")
    worker = PowerProcess(
        "normalizer_worker", {**environ, "POWER_BROKER_URL": own.cluster.url("amqp")}, tmp_path / "worker.log"
    )
    gateway.start()
    load = Load(own.port, port)
    try:
        with load.running():
            own.cluster.await_owners(lambda owners: is_even(owners, 3), "three workers have them")
            worker.start()
            own.cluster.await_owners(lambda owners: is_even(owners, 4), "four workers have them", 30)
            stored_beyond(own, load, 15)
            worker.stop()
            stored_beyond(own, load, 15)
        until(lambda: is_stored(own, load.slots), "every reading", 30)
    finally:
        worker.stop()
        gateway.stop()


@pytest.fixture
def second(own: ClusterService, tmp_path: Path) -> Iterator[int]:
    """The port of another gateway."""
    port = free_port()
    folder = {"POWER_DATA_DIR": str(tmp_path / "second")}
    environ = {**own.environ, **folder, "POWER_HTTP_PORT": str(port), "POWER_CONFLICT_WAIT_S": "20"}
    gateway = PowerProcess("ingest_api", environ, tmp_path / "gateway.log")
    gateway.start()
    until(lambda: accepted(port, batch(2, 0, 1.0)), "the second gateway accepts")
    yield port
    gateway.stop()


def test_a_repeat_at_another_gateway_undoes_no_correction(own: ClusterService, second: int) -> None:
    """Its client has named it, and not dated it; the first gateway may be gone by then."""
    first = {**batch(1, 0, 4.0), "batch_id": str(uuid4())}
    for at, sent in ((own.port, first), (own.port, batch(1, 0, 8.0)), (second, first)):
        assert accepted(at, sent)
    assert own.get("/data?spaceship_id=1")["data"][0]["value"] == 8


def test_other_content_of_a_batch_id_is_refused_at_another_gateway_too(own: ClusterService, second: int) -> None:
    """With the same answer as at the gateway that has the first, which is a repeat at both; dated or not."""
    for ship, dated in ((1, {}), (3, {"sent_at": iso(START_US)})):
        batch_id = str(uuid4())
        first, other = ({**batch(ship, 0, value), **dated, "batch_id": batch_id} for value in (4.0, 8.0))
        assert accepted(own.port, first)
        here, there = posted(own.port, other), posted(second, other)
        assert (there.status, there.json()) == (409, here.json())
        assert status_at(second, batch_id) == ("rejected", here.json()["errors"])
        asked = {
            "spaceship_id": str(ship),
            "start": iso(START_US),
            "end": iso(START_US + SLOT_US),
            "batch_id": batch_id,
        }
        deletion = urllib3.request("DELETE", f"http://{HOST}:{second}/data", fields=asked, headers=WAITING)
        assert (deletion.status, deletion.json()) == (409, here.json())
        assert accepted(second, first)
        assert status_at(second, batch_id) == ("stored", [])
        assert [posted(port, other).status for port in (own.port, second)] == [409, 409]
        assert own.get(f"/data?spaceship_id={ship}")["data"][0]["value"] == 4
        with own.dead_letters() as letters:
            assert here.json()["detail"] in {each.reason for each in letters.newest(9)}


def test_who_does_not_wait_is_told_too_that_another_gateway_knows_the_batch_id(
    own: ClusterService, second: int
) -> None:
    first = {**batch(1, 0, 4.0), "batch_id": str(uuid4())}
    assert accepted(own.port, first)
    other = {**batch(1, 0, 8.0), "batch_id": first["batch_id"]}
    here = posted(own.port, other, {})
    assert here.status == 409
    there = posted(second, other, {})
    assert (there.status, there.json()) == (409, here.json())
    assert posted(second, [other], {}).status == 409
    assert own.get("/data?spaceship_id=1")["data"][0]["value"] == 4
    assert posted(second, first, {}).status == 202


def test_without_that_wait_it_is_told_later(own: ClusterService, second: int) -> None:
    first = {**batch(1, 0, 4.0), "batch_id": str(uuid4())}
    assert accepted(second, first)
    other = {**batch(1, 0, 8.0), "batch_id": first["batch_id"]}
    assert posted(own.port, other, {}).status == 202
    until(lambda: status_at(own.port, first["batch_id"])[0] == "rejected", "it is rejected")
    assert own.get("/data?spaceship_id=1")["data"][0]["value"] == 4


WAITING = {"Prefer": "wait=20"}


def posted(port: int, sent: dict[str, Any] | list[Any], headers: dict[str, str] = WAITING) -> urllib3.BaseHTTPResponse:
    """Send a batch or several, as a rule waiting for the receipts."""
    return urllib3.request("POST", f"http://{HOST}:{port}/data", json=sent, headers=headers, retries=False)


def status_at(port: int, batch_id: str) -> tuple[str, list[Any]]:
    """Return what a gateway says became of a batch, and why."""
    found = urllib3.request("GET", f"http://{HOST}:{port}/batches/{batch_id}").json()
    return found["status"], found["errors"]


def accepted(port: int, sent: dict[str, Any]) -> bool:
    """Send a batch and return whether it is stored."""
    try:
        return posted(port, sent).status == 201
    except urllib3.exceptions.HTTPError:
        return False


def test_halted_owner_that_wakes_up_writes_nothing(own: ClusterService) -> None:
    """Under load, so that it is halted with messages in its hands; its partitions have other owners meanwhile."""
    load = Load(own.port)
    with load.running():
        stored_beyond(own, load, 30)
        victim = workers(own)[0]
        victim.send_signal(signal.SIGSTOP)
        name = f"{os.uname().nodename}-{victim.pid}"
        own.cluster.await_owners(
            lambda owners: name not in owners and sum(owners.values()) == PARTITIONS, "others own its partitions", 30
        )
        stored_beyond(own, load, 30)
        victim.send_signal(signal.SIGCONT)
        own.cluster.await_owners(lambda owners: is_even(owners, 3), "it has its share again")
        stored_beyond(own, load, 15)
    until(lambda: is_stored(own, load.slots), "every reading", 30)
    assert "Traceback" not in own.said()
    with closing(PostgresStore(own.environ["POWER_STORE_URL"])) as store:
        fleet = store.fleet(Window())
    expected = [sum(ship + slot for ship in SHIPS) for slot in range(load.slots)]
    assert fleet.kwh.tolist() == expected, "sums, which would be wrong if something were counted twice"


def test_another_number_of_partitions_than_the_store_has_is_refused(own: ClusterService, tmp_path: Path) -> None:
    other = Cluster(own.cluster.rabbitmq, f"{own.cluster.vhost}-other", tmp_path / "other")
    other.rabbitmq.add_vhost(other.vhost)
    assert other.declare(PARTITIONS + 1).returncode == 0
    environ = {
        **own.environ,
        "POWER_BROKER_URL": other.url("amqp"),
        "POWER_PARTITIONS": str(PARTITIONS + 1),
        "POWER_WORKER_HTTP_PORT": "0",
    }
    worker = PowerProcess("normalizer_worker", environ, tmp_path / "worker.log")
    with pytest.raises(AssertionError):
        worker.start()
    worker.stop()
    other.rabbitmq.drop_vhost(other.vhost)
    expected = f"POWER_PARTITIONS is {PARTITIONS + 1}, but the store was filled with {PARTITIONS}"
    assert worker.said().splitlines()[-1] == expected
