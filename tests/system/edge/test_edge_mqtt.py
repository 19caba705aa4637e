"""The edge's door for MQTT: ships reach the broker through it, each address with bounded connections and bytes."""

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Event

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from power_cli.up import ROOT
from tests.support.edge import Edge, turned_away
from tests.support.flooding import Flood
from tests.support.processes import Processes, Ship
from tests.support.servers import HOST, Broker, Service, free_port, started
from tests.support.ship_load import batch
from tests.support.waiting import until

RATE_BYTES = 256 * 1024


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole service."""
    with started(Service(tmp_path_factory.mktemp("door") / "data")) as service:
        yield service


def _edge(folder: Path, broker_port: int, **environ: str) -> Edge:
    ports = {name: free_port() for name in ("ingest_api", "normalizer_worker", "query_api")}
    return Edge(folder, ports, POWER_EDGE_MQTT=f"{HOST}:{broker_port}", **environ)


@pytest.fixture
def edge(service: Service, tmp_path: Path) -> Iterator[Edge]:
    """A door before its broker."""
    with started(_edge(tmp_path, service.mqtt_port)) as edge:
        yield edge


def test_a_ship_gets_its_receipt_through_the_door(edge: Edge) -> None:
    subscribed, receipts = Event(), list[dict[str, object]]()
    ship = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="ship-7")
    ship.on_subscribe = lambda *_: subscribed.set()
    ship.on_message = lambda _ship, _data, message: receipts.append(json.loads(message.payload))
    ship.connect(HOST, edge.mqtt_port)
    ship.loop_start()
    try:
        ship.subscribe("ships/7/receipts", qos=1)
        assert subscribed.wait(20)
        batch = {
            "batch_id": "db6a542d-ee04-46d6-b191-020d993daed3",
            "units": "kWh",
            "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 3}],
        }
        ship.publish("ships/7/readings", json.dumps(batch), qos=1)
        until(lambda: receipts, "the receipt is there")
        assert receipts[0]["status"] == "stored"
    finally:
        ship.disconnect()
        ship.loop_stop()


def test_one_address_has_so_many_connections_and_no_more(service: Service, tmp_path: Path) -> None:
    with started(_edge(tmp_path, service.mqtt_port, POWER_EDGE_MQTT_CONNECTIONS="2")) as edge:
        crowd = [
            socket.create_connection((HOST, edge.mqtt_port), 20, source_address=("127.0.0.8", 0)) for _ in range(3)
        ]
        try:
            until(lambda: turned_away(crowd) == 1, "one is closed")
            with socket.create_connection((HOST, edge.mqtt_port), 20, source_address=("127.0.0.9", 0)) as other:
                other.sendall(bytes.fromhex("100d00044d5154540402003c00017a"))  # CONNECT, as "z"
                assert other.recv(4) == bytes.fromhex("20020000")
            assert turned_away(crowd) == 1
        finally:
            for each in crowd:
                each.close()


def test_a_flood_is_slowed(tmp_path: Path) -> None:
    """What arrives behind the door in a while is bounded by its rate, however much is sent."""
    with closing(socket.create_server((HOST, 0))) as broker:
        edge = _edge(tmp_path, broker.getsockname()[1], POWER_EDGE_MQTT_RATE=str(RATE_BYTES))
        with started(edge), socket.create_connection((HOST, edge.mqtt_port)) as flood:
            flood.setblocking(False)
            began_s = time.monotonic()
            behind, _ = broker.accept()
            behind.settimeout(20)
            arrived = 0
            with behind:
                while arrived < 3 * RATE_BYTES:
                    _send(flood)
                    arrived += len(behind.recv(65_536))
            assert arrived / (time.monotonic() - began_s) < 2 * RATE_BYTES


def _send(flood: socket.socket) -> None:
    with suppress(BlockingIOError):
        flood.send(bytes(2**20))


class DeployedBroker(Broker):
    """A broker whose queue is bounded as in docker-compose.yml."""

    def configure(self) -> Path:
        """See `Broker`."""
        path = super().configure()
        limits = re.findall(r"(?m)^max_queued_.*$", (ROOT / "mosquitto" / "mosquitto.conf").read_text("utf-8"))
        assert len(limits) == 2
        text = re.sub(r"(?m)^max_queued_.*$", "", path.read_text("utf-8"))
        path.write_text("\n".join([text, *limits, ""]), "utf-8")
        return path


def _deployed_rate() -> str:
    found = re.search(r"POWER_EDGE_MQTT_RATE:-(\w+)", (ROOT / "docker-compose.yml").read_text("utf-8"))
    assert found
    return found[1]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with started(DeployedBroker(tmp_path / "broker")) as broker:
        yield broker


@pytest.fixture
def processes(tmp_path: Path, broker: Broker) -> Iterator[Processes]:
    """A worker, without a gateway."""
    processes = Processes(tmp_path / "data", broker=broker)
    processes.worker.start()
    yield processes
    processes.stop()


def test_a_flood_of_tiny_messages_has_nobody_elses_dropped(
    processes: Processes, broker: Broker, tmp_path: Path
) -> None:
    """Not even while the worker is halted, and though the other ship sends once only."""
    sent = batch(2, (1, 2.0))
    with started(_edge(tmp_path, broker.port, POWER_EDGE_MQTT_RATE=_deployed_rate())) as edge:
        other = Ship(edge.mqtt_port)
        processes.worker.send_signal(signal.SIGSTOP)
        with Flood(edge.mqtt_port) as flood:
            flood.send(1, b"", qos=1, count=10**9, most_s=4)
            other.send(sent)
            processes.worker.send_signal(signal.SIGCONT)
            until(lambda: other.receipts.get(sent["batch_id"]) == ["stored"], "the receipt", 30)
        other.leave()
