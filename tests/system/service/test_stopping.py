"""Told to end under load: what is in hand is finished within 10 s, and what was accepted is stored, then or later."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psutil
import pytest
import urllib3

from shared.domain.timestamps import iso, moment_us
from tests.support.influxdb2 import new_influxdb
from tests.support.servers import HOST, Service
from tests.support.service_processes import child
from tests.support.waiting import until

START_US = 1_535_068_800_000_000
APART_US = 2 * 86_400_000_000
"""More than a reading speaks across: every batch has one slot, and no other fills it."""
SENDERS = 40
"""More than there are threads to answer them."""
LIMIT_S = 10


class Load:
    """Batches that are sent until nobody answers; `accepted` are the numbers of those answered with 202, by ship."""

    def __init__(self, service: Service) -> None:
        self.accepted: dict[int, list[int]] = {ship: [] for ship in range(SENDERS)}
        self._url = f"http://{HOST}:{service.port}/data"
        self._threads = [threading.Thread(target=self._send, args=(ship,)) for ship in self.accepted]

    def __len__(self) -> int:
        return sum(map(len, self.accepted.values()))

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._threads:
            each.join()

    def await_more(self) -> None:
        """Wait until some more are accepted."""
        before = len(self)
        until(lambda: len(self) > before + SENDERS, "more is accepted")

    def _send(self, ship: int) -> None:
        pool = urllib3.PoolManager(retries=False)
        while True:
            number = len(self.accepted[ship])
            reading = {"datetime": iso(START_US + number * APART_US), "value": 4}
            batch = {"spaceship_id": ship, "units": "kWh", "batch_id": str(uuid4()), "data": [reading]}
            headers = {"Content-Type": "application/json"}
            try:
                answer = pool.request("POST", self._url, body=json.dumps(batch).encode(), headers=headers, timeout=20)
            except urllib3.exceptions.HTTPError:
                break
            assert answer.status == 202, answer.data
            self.accepted[ship].append(number)
        pool.clear()


def numbers(service: Service, ship: int) -> list[int]:
    """Give the numbers of the batches of a ship that can be read."""
    response = service.request("GET", f"/data?spaceship_id={ship}")
    data: list[dict[str, Any]] = response.json()["data"] if response.status == 200 else []
    return [(moment_us(each["datetime"]) - START_US) // APART_US for each in data]


def answers(service: Service) -> bool:
    try:
        return service.request("GET", "/healthz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def await_stored(service: Service, load: Load) -> None:
    """Wait until all that was accepted can be read; what was never answered must not be there."""
    for ship, expected in load.accepted.items():
        until(lambda ship=ship, expected=expected: numbers(service, ship) == expected, f"ship {ship}'s", 60)  # type: ignore[misc]


@contextmanager
def halted(process: psutil.Process) -> Iterator[None]:
    """Have a process stand still for a while."""
    process.suspend()
    try:
        yield
    finally:
        if process.is_running():
            process.resume()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    """A service for one test alone, on InfluxDB."""
    influxdb = new_influxdb(tmp_path / "influxdb")
    influxdb.start()
    service = Service(tmp_path / "data", store="influxdb", **influxdb.environ("power"))
    service.influxdb = influxdb  # type: ignore[attr-defined]
    service.start()
    yield service
    assert service.stop() == 0
    influxdb.stop()


def stop(service: Service) -> None:
    """Tell all of it to end, which it must do in time."""
    process = service._process
    assert process is not None
    process.terminate()
    try:
        assert process.wait(LIMIT_S) == 0
    except subprocess.TimeoutExpired:
        pytest.fail(f"it has not ended after {LIMIT_S} s: {service.said()[-500:]}")
    service._process = None


def found(service: Service, name: str) -> psutil.Process:
    process = until(lambda: child(service, name), name)
    assert process is not None
    return process


STANDS_STILL: dict[str, Callable[[Service], psutil.Process]] = {
    "broker": lambda service: found(service, "mosquitto"),
    "store": lambda service: psutil.Process(service.influxdb.pid),  # type: ignore[attr-defined]
}


def test_told_to_end_under_load_it_answers_what_it_has_read(own: Service) -> None:
    """With more senders than threads; what was taken in is stored by the time it runs again."""
    with Load(own) as load:
        load.await_more()
        stop(own)
    assert "is killed" not in own.said()
    own.start()
    await_stored(own, load)


@pytest.mark.parametrize("name", STANDS_STILL)
def test_it_ends_though_something_stands_still_and_all_is_stored_later(own: Service, name: str) -> None:
    with Load(own) as load:
        load.await_more()
        with halted(STANDS_STILL[name](own)):
            load.await_more()
            stop(own)
    killed = [line for line in own.said().splitlines() if "is killed" in line]
    assert all("mosquitto" in line for line in killed), f"gateway and worker end by themselves: {killed}"
    assert len(killed) == (name == "broker")
    own.start()
    await_stored(own, load)


@pytest.mark.parametrize("name", ["power_cli.http", "normalizer_worker"])
def test_each_of_them_ends_by_itself_with_status_0(own: Service, name: str) -> None:
    """The supervisor, which was not asked, starts it again, and says how it ended."""
    with Load(own) as load:
        load.await_more()
        found(own, name).terminate()
        until(lambda: "died (status 0); starting it again" in own.said(), "it ended well", LIMIT_S)
        if name == "normalizer_worker":
            found(own, "power_cli.http").terminate()  # which ends the load, too
    until(lambda: own.said().count("connected to the broker") > 1, "it connects again")
    until(lambda: answers(own), "it answers again")
    await_stored(own, load)
