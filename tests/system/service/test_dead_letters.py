"""`./power dead-letters show`, `replay`, `edit` and `remove`: what can be stored is, and the rest stays dead."""

import json
import os
import subprocess
import sys
from pathlib import Path
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


def tool(service: Service, *arguments: str, status: int = 0, editor: str = "false") -> str:
    command = [sys.executable, "-P", "-m", "power_cli", "dead-letters", *arguments, "--data", str(service.folder)]
    port, editors = str(service.mqtt_port), {"EDITOR": editor, "VISUAL": ""}
    environ = {**os.environ, **editors, "PYTHONPATH": str(ROOT), "POWER_MQTT_PORT": port}
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
        for action in ("show", "replay", "edit", "remove"):
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


def test_removed_ones_are_gone_and_not_sent(own: WatchedService) -> None:
    names = [name_of(own, BELOW), name_of(own, NEVER)]
    assert "give at least 4 digits" in tool(own, "remove", names[0], names[1][:3], status=1)
    assert count(own) == 2
    said = tool(own, "remove", *names)
    assert said.splitlines() == [f"dead letter {name} is removed" for name in names]
    assert count(own) == 0


def test_a_corrected_one_is_stored_and_then_removed(own: WatchedService, tmp_path: Path) -> None:
    """By an editor or a file. It counts as sent when it came: it does not override what was sent since."""
    last = {**BELOW, "data": [{"datetime": "2021-06-01T00:15:00Z", "value": 9}]}
    paho.single(TOPIC, json.dumps(last), qos=1, hostname=HOST, port=own.mqtt_port)
    until(lambda: own.get("/data?spaceship_id=5")["data"], "the reading behind it")
    said = tool(own, "edit", name_of(own, BELOW), editor="sed -i 's/-3/3/'")
    assert "of ship 5\n" in said
    assert said.endswith(" is removed\n")
    right = tmp_path / "right.json"
    right.write_text(json.dumps({**last, "data": [{"datetime": "2021-06-01T00:15:00Z", "value": 1}]}))
    assert " is removed\n" in tool(own, "edit", name_of(own, NEVER), "--payload", str(right))
    assert count(own) == 0
    assert [row["value"] for row in own.get("/data?spaceship_id=5")["data"]] == [3, 9]


def test_what_is_still_wrong_is_not_sent_and_its_text_is_kept(own: WatchedService) -> None:
    said = tool(own, "edit", name_of(own, NEVER), editor="sed -i 's/J/kW/'", status=1)
    assert said.startswith("nothing is sent: the batch is not valid; data is empty; the text is in /")
    text = Path(said.rpartition(" ")[2].strip())
    assert json.loads(text.read_text()) == {**NEVER, "units": "kW"}
    text.unlink()
    said = tool(own, "edit", name_of(own, NEVER), editor="true", status=1)
    assert "nothing is sent: nothing was changed" in said
    Path(said.rpartition(" ")[2].strip()).unlink()
    said = tool(own, "edit", name_of(own, NEVER), editor="false", status=1)
    assert "the editor ended with status 1" in said
    Path(said.rpartition(" ")[2].strip()).unlink()
    assert count(own) == 2


def test_what_the_worker_rejects_stays(own: WatchedService, tmp_path: Path) -> None:
    """By a setting that only the worker has: this one does not take negative values."""
    right = tmp_path / "right.json"
    right.write_text(json.dumps({**BELOW, "data": [{"datetime": "2021-06-01T00:00:00Z", "value": -4}]}))
    said = tool(own, "edit", name_of(own, BELOW), "--payload", str(right), status=1)
    assert "the worker rejects it: the batch is not valid; data[0].value should be" in said
    assert name_of(own, BELOW) in tool(own)


MISTAKEN = ["Ships/5/readings", "/ships/5/readings", "ships/5/reading", "ships/5"]


def test_what_is_published_on_a_mistaken_topic_is_told_and_can_be_sent(own: WatchedService) -> None:
    right = {"units": "kWh", "data": [{"datetime": "2021-06-01T00:00:00Z", "value": 3}]}
    for topic in MISTAKEN:
        paho.single(topic, json.dumps(right), qos=1, hostname=HOST, port=own.mqtt_port)
    until(lambda: count(own) == 2 + len(MISTAKEN), "a dead letter of each")
    of_topic = {each["topic"]: each for each in listed(own)}
    for topic in MISTAKEN:
        assert of_topic[topic]["reason"] == f"published to {topic}; the topic is ships/5/readings"
        assert of_topic[topic]["times"] == 1
    assert own.get("/data?spaceship_id=5")["data"] == []
    said = tool(own, "edit", of_topic[MISTAKEN[0]]["id"], editor="a program that is not there", status=1)
    assert said == f"{MISTAKEN[0]} names no ship: give --topic ships/N/readings\n"
    assert " is removed" in tool(own, "edit", of_topic[MISTAKEN[0]]["id"], "--topic", TOPIC)
    assert [row["value"] for row in own.get("/data?spaceship_id=5")["data"]] == [3]
