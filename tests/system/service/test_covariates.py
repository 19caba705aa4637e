"""Covariates through the whole service, over HTTP and over MQTT, on each store: stored in order, and used at once."""

import json
import os
import re
import subprocess
import sys
from functools import partial
from typing import Any

from power_cli.up import ROOT
from shared.domain.columns import F64
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import iso
from tests.support.planned_speed import kwh_at, speeds
from tests.support.servers import HOST, Service, WatchedService, send_mqtt
from tests.support.service_processes import child
from tests.support.slots import DAY, MONDAY_S
from tests.support.waiting import until

DAYS = 40
SPEED = speeds(DAYS + 2)


def at(slot: int) -> str:
    """Name a slot, counted from the first one."""
    return iso((MONDAY_S + slot * SLOT_S) * 10**6)


def store(service: Service, ship: int, kwh: F64) -> None:
    """Send energy of consecutive slots, and wait until it can be read."""
    data = [{"datetime": at(slot), "value": value} for slot, value in enumerate(kwh.tolist())]
    assert service.post({"spaceship_id": ship, "units": "kWh", "data": data}, Prefer="wait=30").status == 201


def rows(speed: F64 = SPEED) -> list[dict[str, Any]]:
    """Write a row for each slot."""
    return [{"datetime": at(slot), "speed": value} for slot, value in enumerate(speed.tolist())]


def put(service: Service, ship: int, table: list[dict[str, Any]], **members: Any) -> Any:
    """Replace the table, and wait until it is stored."""
    headers = {"Content-Type": "application/json", "Prefer": "wait=20"}
    body = json.dumps({"covariates": table, **members}).encode()
    response = service.request("PUT", f"/ships/{ship}/covariates", body, headers)
    assert (response.status, response.json()["status"]) == (201, "stored"), response.data
    return response.json()


def shown(service: Service, ship: int) -> list[dict[str, Any]]:
    """Return the rows of the table that is stored."""
    found: list[dict[str, Any]] = service.get(f"/ships/{ship}/covariates")["covariates"]
    return found


def test_a_table_replaces_the_one_sent_before_it_and_no_later_one(service: Service, ship: int) -> None:
    assert shown(service, ship) == []
    stored = put(service, ship, rows(SPEED[:5]), sent_at="2025-01-01T00:00:05Z")
    assert service.get(f"/batches/{stored['batch_id']}")["status"] == "stored"
    assert shown(service, ship) == rows(SPEED[:5])
    put(service, ship, rows(SPEED[:3]), sent_at="2025-01-01T00:00:04Z")
    assert shown(service, ship) == rows(SPEED[:5])
    put(service, ship, [], sent_at="2025-01-01T00:00:06Z")
    put(service, ship, rows(SPEED[:5]), sent_at="2025-01-01T00:00:05Z")
    assert service.get(f"/ships/{ship}/covariates") == {
        "spaceship_id": ship,
        "sent_at": "2025-01-01T00:00:06Z",
        "covariates": [],
    }


def test_a_ship_may_publish_its_table(service: Service, ship: int) -> None:
    send_mqtt(service, {"spaceship_id": ship, "covariates": rows(SPEED[:4])})
    until(lambda: shown(service, ship) == rows(SPEED[:4]), "the table")


def test_accepted_tables_are_stored_in_order_though_worker_and_broker_are_killed(own: WatchedService) -> None:
    batches = []
    for number in range(1, 7):
        name = "normalizer_worker" if number % 2 else "mosquitto"
        until(partial(child, own, name), name).kill()
        body = json.dumps({"covariates": rows(SPEED[:number])}).encode()
        response = own.request("PUT", "/ships/7/covariates", body, {"Content-Type": "application/json"})
        assert response.status == 202, response.data
        batches.append(response.headers["Location"])
    until(lambda: all(own.get(each)["status"] == "stored" for each in batches), "the receipts", 60)
    assert shown(own, 7) == rows(SPEED[:6])


def test_a_forecast_follows_the_planned_speed(service: Service, ship: int) -> None:
    """From the answer after the PUT on, and no longer when the table is removed."""
    n = DAYS * DAY
    store(service, ship, kwh_at(SPEED)[:n])
    path = f"/forecast?spaceship_id={ship}&start={at(n)}&horizon=24h"
    without = service.get(path)
    put(service, ship, rows())
    sailing = service.get(path)
    came = float(kwh_at(SPEED)[n : n + DAY].sum())
    assert sailing["weights"]["covariates"] > 0.5
    assert abs(sailing["expected_consumption"] - came) < 0.1 * came
    models = service.get(f"/forecast/models?spaceship_id={ship}&start={at(n)}")["models"]
    assert "covariates" in [each["model"] for each in models]
    put(service, ship, [])
    assert service.get(path) == without


def test_a_backtest_uses_them(own: WatchedService) -> None:
    store(own, 7, kwh_at(SPEED))
    put(own, 7, rows())
    command = [sys.executable, "-P", "-m", "power_cli", "backtest", "--ship", "7", "--model", "auto", "--windows", "1"]
    command += ["--start", at(DAYS * DAY), "--url", f"http://{HOST}:{own.port}"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (wape,) = re.findall(r"\| 1 day +\| auto +\| +1 +\| +([0-9.]+)%", done.stdout)
    assert float(wape) < 10, done.stdout
