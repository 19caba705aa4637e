"""Receipts against a real broker: within its limits, past its refusals, and after the worker's death."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from prometheus_client import CollectorRegistry

from normalizer_worker.mqtt import acknowledgements
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.broker_metrics import BrokerMetrics
from normalizer_worker.mqtt.receipts import Receipt
from normalizer_worker.mqtt.session import Connection
from power_cli.up import ROOT
from shared.contract.limits import MAX_RESPONSE_TOPIC_BYTES
from shared.contract.topics import ALL_READINGS, receipt_topic_for
from shared.domain.errors import Unavailable
from shared.domain.slots import Window
from shared.runtime.mqtt_client import Login
from shared.store.sqlite import SqliteStore
from tests.support.authenticated_broker import AuthenticatedBroker
from tests.support.servers import HOST, Broker, started
from tests.support.session import Worker, has_come, publish, receive
from tests.support.waiting import until

ROOM = 3
UUID = "6f1c2a3e-5b7d-4c1e-9a70-0d4b5f6e7a81"
DEADLY = (
    "import os, signal; from normalizer_worker import __main__; from normalizer_worker.mqtt import acknowledgements;"
    "acknowledgements.Acknowledgements.add = lambda *_: os.kill(os.getpid(), signal.SIGKILL); __main__.main()"
)
"""A worker that is killed when all is durable and nothing of it has been said."""


class NarrowBroker(Broker):
    """A broker that allows few messages in flight, as Mosquitto's own defaults do."""

    def configure(self) -> Path:
        path = super().configure()
        path.write_text(path.read_text("utf-8").replace("messages 65534", f"messages {ROOM}"), "utf-8")
        return path


class Listener:
    """A client that keeps what comes on topics."""

    def __init__(self, broker: Broker, *topics: str) -> None:
        self.came: list[MQTTMessage] = []
        self._client = client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        subscribed: list[Any] = []
        client.on_message = lambda _c, _u, message: self.came.append(message)
        client.on_subscribe = lambda _c, _u, _mid, codes, _p: subscribed.append(codes)
        client.connect(HOST, broker.port)
        client.subscribe([(topic, 1) for topic in topics])
        client.loop_start()
        until(lambda: subscribed, "the subscription")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def to(topic: str, payload: bytes = b"{}", correlation: bytes | None = None) -> Receipt:
    return Receipt(topic, payload, correlation, "stored")


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Broker]:
    with started(NarrowBroker(tmp_path / "narrow")) as broker:
        yield broker


def test_a_receipt_arrives_with_its_correlation_data(broker: Broker, worker: Worker) -> None:
    listener, connection = Listener(broker, "gateways/#"), worker.connect()
    publish(broker, b"a", b"b")
    first, second = receive(connection, 2)
    connection.finish([Done(first, to("gateways/1", b"one", b"\0\xff")), Done(second, to("gateways/2", b"two"))])
    until(lambda: connection.receive(0.01) or len(listener.came) == 2, "both receipts")
    assert [(each.topic, each.payload, each.qos, each.retain) for each in listener.came] == [
        ("gateways/1", b"one", 1, False),
        ("gateways/2", b"two", 1, False),
    ]
    correlations = [getattr(each.properties, "CorrelationData", None) for each in listener.came]
    assert correlations == [b"\0\xff", None]
    listener.close()


def test_more_receipts_than_the_broker_has_room_for_come_all_the_same(narrow: Broker) -> None:
    """Left to paho they would go all at once, and the broker would be free to end the connection."""
    listener = Listener(narrow, "gateways/#")
    connection = Connection(HOST, narrow.port, "test-worker", ALL_READINGS, 100)
    publish(narrow, *[b"%d" % i for i in range(50)])
    messages = receive(connection, 50)
    connection.finish([Done(each, to("gateways/1", each.payload)) for each in messages])
    assert connection._acknowledgements.room == ROOM
    assert connection._acknowledgements.unconfirmed <= ROOM

    def all_came() -> bool:
        assert connection.receive(0.01) is None
        assert connection._acknowledgements.unconfirmed <= ROOM
        return len(listener.came) == 50 and not connection._acknowledgements.unconfirmed

    until(all_came, "all receipts, and their confirmations")
    assert [each.payload for each in listener.came] == [each.payload for each in messages]
    assert not connection._client._out_messages
    connection.close()
    again = Connection(HOST, narrow.port, "test-worker", ALL_READINGS, 100)
    assert again.receive(0.3) is None, "all were acknowledged"
    again.close()
    listener.close()


def test_what_waits_for_room_is_not_acknowledged(narrow: Broker) -> None:
    connection = Connection(HOST, narrow.port, "test-worker", ALL_READINGS, 100)
    publish(narrow, b"a", b"b")
    connection._acknowledgements.room = 1
    messages = receive(connection, 2)
    connection._acknowledgements.add([Done(each, to("gateways/1")) for each in messages])
    assert not connection._acknowledgements.go_on()
    connection.close()
    again = Connection(HOST, narrow.port, "test-worker", ALL_READINGS, 100)
    assert [each.payload for each in receive(again, 1)] == [b"b"]
    again.close()


def test_a_broker_that_makes_no_room_is_left(narrow: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(HOST, narrow.port, "test-worker", ALL_READINGS, 100)
    publish(narrow, b"a")
    connection._acknowledgements.room = 0
    connection.finish([Done(each, to("gateways/1")) for each in receive(connection, 1)])
    assert connection.receive(0.01) is None
    monkeypatch.setattr(acknowledgements, "CONFIRMED_WITHIN_S", -1.0)
    with pytest.raises(Unavailable, match="confirmed no receipt"):
        connection.receive(0.01)
    connection.close()


def test_confirmations_do_not_hide_the_messages_behind_them(broker: Broker, worker: Worker) -> None:
    """A transaction takes all that has come: it must not end at what the broker says between."""
    connection = worker.connect()
    publish(broker, *[b"%d" % i for i in range(30)])
    connection.finish([Done(each, to("gateways/1")) for each in receive(connection, 30)])
    publish(broker, b"next")
    until(lambda: has_come(connection, b"next"), "all of it")
    message = connection.receive(0)
    assert message is not None
    assert message.payload == b"next"


@pytest.mark.parametrize("fill", ["/", "a/", "x", "\N{SNOWMAN}"])
def test_no_response_topic_that_is_honoured_ends_the_connection(
    broker: Broker,
    worker: Worker,
    fill: str,
) -> None:
    """Its message would come again, and end the next connection, for ever."""
    asked = ("ships/1/" + fill * MAX_RESPONSE_TOPIC_BYTES).encode()[:MAX_RESPONSE_TOPIC_BYTES].decode()
    connection = worker.connect()
    publish(broker, b"a")
    (message,) = receive(connection, 1)
    connection.finish([Done(message, to(receipt_topic_for(1, asked)))])
    until(lambda: connection.receive(0.01) or not connection._acknowledgements.unconfirmed, "the confirmation")
    assert receipt_topic_for(1, asked) == asked


def test_a_refusal_by_the_brokers_rules_is_counted_and_ends_nothing(tmp_path: Path) -> None:
    authenticated = AuthenticatedBroker(tmp_path)
    authenticated.start()
    registry = CollectorRegistry()
    logins = {user: Login(user, authenticated.password(user)) for user in ("worker", "gateway")}
    told = BrokerMetrics(registry)
    connection = Connection(HOST, authenticated.port, "worker", ALL_READINGS, 9, login=logins["worker"], told=told)
    gateway = Client(CallbackAPIVersion.VERSION2)
    logins["gateway"].apply_to(gateway)
    gateway.connect(HOST, authenticated.port)
    gateway.loop_start()
    gateway.publish("ships/1/readings", b"a", qos=1).wait_for_publish(10)
    gateway.disconnect()
    gateway.loop_stop()
    (message,) = receive(connection, 1)
    connection.finish([Done(message, to("ships/1/elsewhere")), Done(message, to("ships/1/receipts"))])
    until(lambda: connection.receive(0.01) or not connection._acknowledgements.unconfirmed, "both confirmations")
    assert registry.get_sample_value("power_worker_receipts_refused_total") == 1
    connection.close()
    authenticated.stop()


def test_a_lost_connection_is_said_while_receipts_are_sent(broker: Broker, worker: Worker) -> None:
    connection = worker.connect()
    publish(broker, b"a")
    messages = receive(connection, 1)
    broker.send_signal(signal.SIGKILL)
    broker.stop()
    with pytest.raises(Unavailable, match="lost"):
        until(lambda: connection.finish([Done(messages[0], to("gateways/1"))]), "the connection notices")


def test_a_worker_killed_between_commit_and_receipt_gives_it_when_it_runs_again(broker: Broker, tmp_path: Path) -> None:
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "POWER_MQTT_PORT": str(broker.port),
        "POWER_DATA_DIR": str(tmp_path),
        "POWER_WORKER_HTTP_PORT": "0",
    }
    listener = Listener(broker, "ships/+/receipts")
    batch = {"units": "kWh", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 3}], "batch_id": UUID}
    with subprocess.Popen([sys.executable, "-P", "-c", DEADLY], env=environ) as killed:
        until((tmp_path / "arrivals.sqlite").exists, "it begins")
        until(lambda: _again(broker, batch, killed), "it is dead")
    assert killed.returncode == -signal.SIGKILL
    store = SqliteStore(tmp_path)
    assert store.slots(1, Window()).kwh.tolist() == [3]
    store.close()
    assert listener.came == []
    with subprocess.Popen([sys.executable, "-P", "-m", "normalizer_worker"], env=environ) as process:
        until(lambda: listener.came, "the receipt")
        process.terminate()
    assert json.loads(listener.came[0].payload)["status"] == "stored"
    listener.close()


def _again(broker: Broker, batch: dict[str, Any], killed: subprocess.Popen[bytes]) -> bool:
    """Do as a ship does that has no receipt; before the worker's first subscription the broker keeps nothing."""
    publish(broker, json.dumps(batch).encode())
    return killed.poll() is not None
