"""Receipts through the whole service, to ships of both versions; and docs/mqtt.md, whose very lines are run."""

import json
import queue
import re
import subprocess
import sys
from typing import Any, Self

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from power_cli.up import ROOT
from shared.domain.timestamps import iso, moment_us
from tests.support.cluster_service import ClusterService
from tests.support.programs import need
from tests.support.servers import HOST, Service
from tests.support.waiting import DEADLINE_S, until

V311, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
BOTH = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5"])
START_US = moment_us("2022-03-01T00:00:00Z")
SLOT_US = 900_000_000
TOOLS = ("mosquitto_pub", "mosquitto_sub", "mosquitto_rr")


class Ship:
    """A ship that listens to its receipts, and looks at the service the moment that one comes."""

    def __init__(self, service: Service, ship: int, version: MQTTProtocolVersion, *topics: str) -> None:
        self.ship = ship
        self._service = service
        self._came: queue.Queue[tuple[MQTTMessage, list[Any]]] = queue.Queue()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=version)
        self._topics = topics or (f"ships/{ship}/receipts",)

    def __enter__(self) -> Self:
        subscribed: list[Any] = []
        self._client.on_subscribe = lambda _c, _u, _mid, codes, _p: subscribed.append(codes)
        self._client.on_message = lambda _c, _u, message: self._came.put((message, self.slots()))
        self._client.connect(HOST, self._service.mqtt_port)
        self._client.subscribe([(topic, 1) for topic in self._topics])
        self._client.loop_start()
        until(lambda: subscribed, "the subscription")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def slots(self) -> list[Any]:
        return [row["value"] for row in self._service.get(f"/data?spaceship_id={self.ship}")["data"]]

    def send(self, members: Any, *, qos: int = 1, **properties: Any) -> None:
        made = None
        if properties:
            made = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it so
            for name, value in properties.items():
                setattr(made, name, value)
        self._client.publish(f"ships/{self.ship}/readings", json.dumps(members), qos=qos, properties=made)

    def receipt(self) -> tuple[MQTTMessage, list[Any]]:
        """Wait for the next one; gives it, and the slots that could be read when it came."""
        return self._came.get(timeout=DEADLINE_S)

    def told(self) -> Any:
        return json.loads(self.receipt()[0].payload)


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def batch(number: int, value: float = 1, slot: int = 0, **members: Any) -> dict[str, Any]:
    data = [{"datetime": iso(START_US + slot * SLOT_US), "value": value}]
    return {"batch_id": uuid(number), "units": "kWh", "data": data, **members}


def receipt(ship: int, number: int) -> dict[str, Any]:
    return {"batch_id": uuid(number), "spaceship_id": ship, "status": "stored", "readings": 1, "errors": []}


@BOTH
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_receipt_comes_when_the_readings_can_be_read(
    service: Service, ship: int, version: MQTTProtocolVersion, qos: int
) -> None:
    """Never before."""
    if qos == 2 and version == V5 and isinstance(service, ClusterService):
        pytest.skip("RabbitMQ ends the connection of a client that publishes with QoS 2 over MQTT 5")
    with Ship(service, ship, version) as sender:
        for number in range(20):
            sender.send(batch(number, 7, slot=number), qos=qos)
            message, slots = sender.receipt()
            assert json.loads(message.payload) == receipt(ship, number)
            assert slots == [7] * (number + 1)
            assert (message.topic, message.qos, message.retain) == (f"ships/{ship}/receipts", 1, False)


@BOTH
def test_many_at_once_get_theirs_in_their_order(service: Service, ship: int, version: MQTTProtocolVersion) -> None:
    with Ship(service, ship, version) as sender:
        for number in range(300):
            sender.send(batch(number, slot=number))
        assert [sender.told()["batch_id"] for _ in range(300)] == [uuid(number) for number in range(300)]


@BOTH
def test_a_bad_batch_is_rejected_with_every_fault_and_those_behind_it_go_on(
    service: Service, ship: int, version: MQTTProtocolVersion
) -> None:
    with Ship(service, ship, version) as sender:
        sender.send(batch(1, -1, units="J"))
        sender.send({**batch(2), "batch_id": None, "units": "J"})
        sender.send(batch(3))
        rejected = sender.told()
        assert rejected.pop("errors") == [
            {"at": "units", "problem": "should be 'W', 'kW', 'MW', 'Wh', 'kWh' or 'MWh'"},
            {"at": "data[0].value", "problem": "should be greater than or equal to 0"},
        ]
        assert rejected == {"batch_id": uuid(1), "spaceship_id": ship, "status": "rejected", "readings": 0}
        assert sender.told() == receipt(ship, 3), "what has no batch_id gets none"


@BOTH
@pytest.mark.parametrize("dated", [True, False], ids=["with sent_at", "without sent_at"])
def test_a_repeat_gets_the_same_receipt_and_undoes_no_correction(
    service: Service, ship: int, version: MQTTProtocolVersion, *, dated: bool
) -> None:
    """A ship repeats its batch until it has the receipt; what it has corrected meanwhile stays."""
    first = batch(1, 5) | ({"sent_at": "2022-03-02T00:00:00Z"} if dated else {})
    with Ship(service, ship, version) as sender:
        sender.send(first)
        assert sender.told() == receipt(ship, 1)
        sender.send(batch(2, 6))
        assert sender.told() == receipt(ship, 2)
        sender.send(first)
        message, slots = sender.receipt()
        assert json.loads(message.payload) == receipt(ship, 1)
        assert slots == [6]


def test_a_response_topic_is_answered_there_with_its_correlation_data(service: Service, ship: int) -> None:
    here = f"ships/{ship}/answers"
    with Ship(service, ship, V5, here, f"gateways/{ship}/#", f"ships/{ship}/receipts") as sender:
        for number, asked in enumerate([here, f"gateways/{ship}/a/b"]):
            sender.send(batch(number), ResponseTopic=asked, CorrelationData=b"\0\xff", UserProperty=[("a", "b")])
            message, _ = sender.receipt()
            assert (message.topic, json.loads(message.payload)) == (asked, receipt(ship, number))
            assert vars(message.properties)["CorrelationData"] == b"\0\xff"


@pytest.mark.parametrize("asked", ["ships/{other}/receipts", "elsewhere", "$SYS/broker", "ships/{ship}/readings"])
def test_a_ship_cannot_make_the_worker_publish_elsewhere(service: Service, ship: int, asked: str) -> None:
    asked = asked.format(other=ship + 1_000_000_000, ship=ship)
    with Ship(service, ship, V5, "#") as sender:
        sender.send(batch(1), ResponseTopic=asked, CorrelationData=b"x")
        sender.send(batch(2))
        topics: list[str] = []
        while topics.count(f"ships/{ship}/receipts") < 2:
            topics.append(sender.receipt()[0].topic)
        assert [topic for topic in topics if topic.startswith(f"ships/{ship}/")].count(f"ships/{ship}/readings") == 2
        if not asked.startswith(f"ships/{ship}/"):
            assert asked not in topics


def blocks(language: str) -> list[tuple[str, str]]:
    """Give the blocks of the page's section, each with the answer that stands below it."""
    section = (ROOT / "docs" / "mqtt.md").read_text("utf-8").partition("## Receipts\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```\n\n(?:[^`]*\n)?```\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def test_the_page_shows_it_with_the_tools_of_mosquitto(own: Service) -> None:
    """On MQTT 3.1.1 and, where a Response Topic is named, on 5."""
    need("mosquitto-clients")
    shown = blocks("sh")
    assert len(shown) == 3
    assert all(any(tool in block for block, _ in shown) for tool in TOOLS)
    before = ""
    for block, answer in shown:
        script = before + block.replace("-p 1883", f"-p {own.mqtt_port}")
        before = before or script.partition("\n")[0] + "\n"  # what the ship is called
        done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, timeout=60, check=False)
        assert (done.stdout, done.returncode) == (answer, 0), done.stderr


def test_the_page_shows_it_in_python(own: Service) -> None:
    ((program, answer),) = blocks("python")
    assert len(program.splitlines()) < 30
    script = program.replace("1883", str(own.mqtt_port))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (answer, "")
    assert own.get("/data?spaceship_id=7")["data"]
