"""Accepted means stored, in the end: the whole service, and what is killed right after an answer."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import urllib3

from shared.domain.timestamps import iso
from tests.support.servers import WatchedService, started
from tests.support.service_processes import process
from tests.support.waiting import until

START_US = 1_535_068_800_000_000
SLOT_US = 900_000_000
BATCHES = 40


def batch(ship: int, slot: int) -> dict[str, Any]:
    """Make one of one reading, which fills a slot."""
    reading = {"datetime": iso(START_US + slot * SLOT_US), "value": 4}
    return {"spaceship_id": ship, "units": "kWh", "batch_id": str(uuid4()), "data": [reading]}


def slots(service: WatchedService, ship: int) -> int:
    response = service.request("GET", f"/data?spaceship_id={ship}")
    return len(response.json()["data"]) if response.status == 200 else 0


def kill(service: WatchedService, name: str) -> None:
    """Kill a process at once, and take away what the broker may have written: nothing may rest on that."""
    process(service, name).send_signal(signal.SIGKILL)
    (service.folder / "mosquitto" / "mosquitto.db").unlink(missing_ok=True)


def test_who_waits_for_the_receipt_can_read_at_once_what_was_sent(own: WatchedService) -> None:
    sent = batch(1, 0)
    response = own.post(sent, Prefer="wait=10")
    assert (response.status, response.json()["status"]) == (201, "stored")
    assert response.headers["Preference-Applied"] == "wait=10"
    assert own.get("/data?spaceship_id=1")["data"] == [{"datetime": iso(START_US).replace(".000000", ""), "value": 4}]
    assert own.get(response.headers["Location"]) == {
        "batch_id": sent["batch_id"],
        "spaceship_id": 1,
        "status": "stored",
        "readings": 1,
        "errors": [],
    }
    assert own.count("power_outbox_batches") == 0


@pytest.mark.parametrize("name", ["mosquitto", "power_cli.http", "normalizer_worker"])
def test_what_was_accepted_arrives_whatever_is_killed_right_after(own: WatchedService, name: str) -> None:
    """The worker stands still meanwhile, so that nothing can have arrived before."""
    worker = process(own, "normalizer_worker")
    worker.suspend()
    for slot in range(BATCHES):
        assert own.post(batch(1, slot)).status == 202
    kill(own, name)
    if name != "normalizer_worker":
        worker.resume()
    until(lambda: _ends(lambda: slots(own, 1) == BATCHES), "all of it can be read", 60)
    until(lambda: own.count("power_outbox_batches") == 0, "the outbox is empty", 60)


def test_while_the_broker_is_away_batches_are_accepted_and_arrive_later(own: WatchedService) -> None:
    """The system's supervisor brings it back soon; here it is held as if it hung, and then killed."""
    broker = process(own, "mosquitto")
    broker.suspend()
    for slot in range(BATCHES):
        assert own.post(batch(1, slot)).status == 202
    assert slots(own, 1) == 0
    assert own.count("power_outbox_batches") == BATCHES
    kill(own, "mosquitto")
    until(lambda: slots(own, 1) == BATCHES, "all of it can be read", 60)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[WatchedService]:
    """A service with little room in its outbox."""
    room = str(16 * 2**20)
    settings = {"POWER_OUTBOX_MAX_BYTES": room, "POWER_OUTBOX_SENDER_BYTES": room}
    with started(WatchedService(tmp_path / "small", **settings)) as service:
        yield service


def test_a_full_outbox_is_503_and_loses_nothing(small: WatchedService) -> None:
    worker = process(small, "normalizer_worker")
    worker.suspend()
    accepted = 0
    while (response := small.post({**batch(1, accepted), "data": batch(1, accepted)["data"] * 20_000})).status == 202:
        accepted += 1
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert accepted >= 14
    assert small.request("GET", "/readyz").json()["checks"]["outbox"] is False
    worker.resume()
    until(lambda: slots(small, 1) == accepted, "all that was accepted can be read", 60)
    until(lambda: small.post(batch(1, accepted)).status == 202, "it accepts again")
    until(lambda: small.request("GET", "/readyz").status == 200, "ready again")


def test_a_service_that_is_stopped_keeps_what_was_not_stored(own: WatchedService) -> None:
    process(own, "normalizer_worker").kill()
    for slot in range(BATCHES):
        assert own.post(batch(1, slot)).status == 202
    assert own.stop() == 0
    own.start()
    until(lambda: slots(own, 1) == BATCHES, "all of it can be read", 60)
    assert json.loads(own.request("GET", "/readyz").data)["ready"]


def _ends(look: Any) -> bool:
    """Look, though the gateway may be away."""
    try:
        return bool(look())
    except urllib3.exceptions.HTTPError:
        return False
