"""A flood of several times what can be stored: senders wait or are told so, memory stays bounded, nothing is lost."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest
import urllib3
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from shared.contract.limits import MAX_READINGS
from shared.domain.timestamps import iso, moment_us
from tests.support.servers import HOST, WatchedService, started
from tests.support.service_processes import process
from tests.support.waiting import until

START_US = 1_535_068_800_000_000
APART_US = 2 * 86_400_000_000
"""More than a reading speaks across: every batch has one slot, and no other fills it."""
OUTBOX_BYTES = 16 * 2**20
HTTP_SENDERS, MQTT_SENDERS = 32, 4
MQTT_SHIP = 100
FORECAST_SHIP = 200
FLOOD = [250_000] * 8 + [8 * 2**20 - 1000]
"""How large the batches are that each sender sends: 330 MB over HTTP, twenty times what the outbox takes."""
MQTT_FLOOD = [250_000] * 20
GROWTH_BYTES = 200 * 2**20
"""Measured: 90 MiB, and 270 to 320 where the gateway does not give large blocks back. The worker needs 20 to 35."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[WatchedService]:
    """A service with little room in its outbox."""
    with started(WatchedService(tmp_path / "small", POWER_OUTBOX_MAX_BYTES=str(OUTBOX_BYTES))) as service:
        await_warmth(service)
        yield service


def await_warmth(service: WatchedService) -> None:
    """Wait until the library of forecasts is in memory, which takes its time aside: it is no part of what grows."""
    data = [{"datetime": iso(START_US + hour * 3_600_000_000), "value": hour % 24} for hour in range(10 * 24)]
    assert service.post({"spaceship_id": FORECAST_SHIP, "units": "kW", "data": data}).status == 202
    window = f"start={iso(START_US + 9 * 86_400_000_000)}&end={iso(START_US + 10 * 86_400_000_000)}"
    path = f"/forecast?spaceship_id={FORECAST_SHIP}&{window}"
    until(lambda: service.request("GET", path).status == 200, "a forecast is made")


def batch(ship: int, number: int, size: int) -> bytes:
    """Make one of about so many bytes, nearly all of them readings: nothing else is kept."""
    reading = {"datetime": iso(START_US + number * APART_US), "value": 4.000000000000001}
    data = [reading] * min(size // len(json.dumps(reading)), MAX_READINGS)
    members = {"spaceship_id": ship, "units": "kWh", "batch_id": str(uuid4()), "data": data}
    return json.dumps({**members, "padding": "x" * max(size - len(json.dumps(members)), 0)}).encode()


@contextmanager
def watched(*processes: psutil.Process) -> Iterator[dict[str, int]]:
    """Yield by how much the memory of processes has grown at most, by name."""
    began = {each: each.memory_info().rss for each in processes}
    grown, stop = {each.cmdline()[-1]: 0 for each in processes}, threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            for each, before in began.items():
                name = each.cmdline()[-1]
                grown[name] = max(grown[name], each.memory_info().rss - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield grown
    finally:
        stop.set()
        thread.join()


def post_all(service: WatchedService, ship: int) -> list[int]:
    """POST a flood; give the numbers of the batches that were accepted. The others must have been told to wait."""
    pool, accepted = urllib3.PoolManager(retries=False), []
    for number, size in enumerate(FLOOD):
        answer = pool.request(
            "POST",
            f"http://{HOST}:{service.port}/data",
            body=batch(ship, number, size),
            headers={"Content-Type": "application/json"},
            timeout=urllib3.Timeout(60),
        )
        assert answer.status in {202, 503}, answer.data
        if answer.status == 202:
            accepted.append(number)
        else:
            assert int(answer.headers["Retry-After"]) >= 1
    pool.clear()
    return accepted


def publish_all(service: WatchedService, ship: int) -> list[int]:
    """Publish a flood, each batch once the one before is confirmed; give the numbers of all."""
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect(HOST, service.mqtt_port)
    client.loop_start()
    for number, size in enumerate(MQTT_FLOOD):
        client.publish(f"ships/{ship}/readings", batch(ship, number, size), qos=1).wait_for_publish(20)
    client.disconnect()
    client.loop_stop()
    return [*range(len(MQTT_FLOOD))]


def numbers(service: WatchedService, ship: int) -> list[int]:
    """Give the numbers of the batches of a ship that can be read."""
    data: list[dict[str, Any]] = service.get(f"/data?spaceship_id={ship}")["data"]
    return [(moment_us(each["datetime"]) - START_US) // APART_US for each in data]


def test_a_flood_is_held_back_in_bounded_memory_and_what_was_accepted_is_stored(small: WatchedService) -> None:
    """The worker stands still while it comes, and then has all of it to do at once."""
    gateway, worker = process(small, "power_cli.http"), process(small, "normalizer_worker")
    http, mqtt = range(HTTP_SENDERS), range(MQTT_SHIP, MQTT_SHIP + MQTT_SENDERS)
    with watched(gateway, worker) as grown:
        worker.suspend()
        with ThreadPoolExecutor(HTTP_SENDERS + MQTT_SENDERS) as senders:
            posted = {ship: senders.submit(post_all, small, ship) for ship in http}
            published = {ship: senders.submit(publish_all, small, ship) for ship in mqtt}
            sent = {ship: done.result() for ship, done in {**posted, **published}.items()}
        assert small.count("power_outbox_bytes") <= OUTBOX_BYTES
        worker.resume()
        until(lambda: small.count("power_outbox_batches") == 0, "the outbox is empty", 60)
        until(lambda: small.count("power_worker_messages_total") > sum(map(len, sent.values())), "all is stored", 60)
    accepted = sum(len(sent[ship]) for ship in http)
    assert 0 < accepted < HTTP_SENDERS * len(FLOOD) / 2
    assert {ship: numbers(small, ship) for ship in sent} == sent
    assert max(grown.values()) < GROWTH_BYTES, grown
