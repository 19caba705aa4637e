"""`./power dead-letters show` and `replay`: what is dead by a setting comes back to life, the rest stays dead."""

import json
import os
import subprocess
import sys
from typing import Any

import paho.mqtt.publish as paho
import pytest

from power_cli.up import ROOT
from tests.support.servers import HOST, Service, WatchedService
from tests.support.waiting import until

BELOW = {"units": "kWh", "data": [{"datetime": "2021-06-01T00:00:00Z", "value": -3}]}
NEVER = {"units": "J", "data": []}
TOPIC = "ships/5/readings"
UNKNOWN = {"xyz": "is not an ID", "0" * 64: "there is no dead letter", "": "no dead letter ''"}


@pytest.fixture
def own(own: WatchedService) -> WatchedService:
    """With two dead letters."""
    for payload in (BELOW, NEVER):
        paho.single(TOPIC, json.dumps(payload), qos=1, hostname=HOST, port=own.mqtt_port)
    until(lambda: count(own) == 2, "two dead letters")
    return own


def tool(service: Service, *arguments: str, status: int = 0) -> str:
    command = [sys.executable, "-P", "-m", "power_cli", "dead-letters", *arguments, "--data", str(service.folder)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "POWER_MQTT_PORT": str(service.mqtt_port)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return done.stderr if status else done.stdout


def count(service: WatchedService) -> int:
    """Ask the worker, which takes less time than to start the tool."""
    return int(service.worker("/dead-letters").json()["count"])


def listed(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in tool(service, "--json").splitlines()]


def name_of(service: Service, payload: object) -> str:
    (name,) = [each["id"] for each in listed(service) if json.loads(each["payload"]) == payload]
    return str(name)


def test_one_is_shown_with_every_fault_and_its_payload(own: Service) -> None:
    name = name_of(own, NEVER)
    assert name in tool(own), "it is listed by its name"
    assert (
        f"  {TOPIC}  the batch is not valid: units should be 'W', 'kW', 'MW', 'Wh', 'kWh' or 'MWh'; data is empty\n"
        in tool(own)
    )
    shown = tool(own, "show", name[:6])
    assert f"topic    {TOPIC}\n" in shown
    assert "fault 1  units should be 'W', 'kW', 'MW', 'Wh', 'kWh' or 'MWh'\nfault 2  data is empty\n" in shown
    assert shown.endswith(f"\n\n{json.dumps(NEVER)}\n")


def test_of_a_long_one_the_beginning_is_kept_and_it_is_not_replayed(own: WatchedService) -> None:
    long = {**BELOW, "note": "x" * 100_000}
    paho.single(TOPIC, json.dumps(long), qos=1, hostname=HOST, port=own.mqtt_port)
    until(lambda: count(own) == 3, "three dead letters")
    (name,) = [each["id"] for each in listed(own) if each["cut"]]
    size = len(json.dumps(long))
    assert f"(only the first 65536 of {size} bytes are kept)" in tool(own)
    assert f"cut      only the first 65536 of {size} bytes are kept\n" in tool(own, "show", name)
    said = tool(own, "replay", name, status=1)
    assert f"{name} cannot be replayed: only the first 65536 of {size} bytes are kept" in said
    assert "1 dead letter not replayed" in tool(own, "replay", "--all")
    assert name in tool(own)


def test_an_unknown_name_is_one_clear_line(own: Service) -> None:
    for name, said in UNKNOWN.items():
        for action in ("show", "replay"):
            told = tool(own, action, name, status=1)
            assert said in told
            assert len(told.splitlines()) == 1


def test_what_can_be_stored_by_now_is_and_the_rest_is_dead_again(own: WatchedService) -> None:
    assert own.stop() == 0
    own._environ["POWER_ALLOW_NEGATIVE"] = "true"
    own.start()
    assert "2 dead letters replayed" in tool(own, "replay", "--all")
    until(lambda: own.get("/data?spaceship_id=5")["data"], "it is stored")
    until(lambda: count(own) == 1, "one is left")
    assert [json.loads(each["payload"]) for each in listed(own)] == [NEVER]


def test_what_the_broker_does_not_take_stays(own: Service) -> None:
    name = name_of(own, BELOW)
    assert own.stop() == 0
    assert "(POWER_MQTT_HOST, POWER_MQTT_PORT): Connection refused" in tool(own, "replay", name, status=1)
    assert len(listed(own)) == 2
