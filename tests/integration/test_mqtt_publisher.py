"""The gateway's connection against a real broker: only a good confirmation counts."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ingest_api.mqtt_publisher import MqttPublisher

from ingest_api import mqtt_publisher
from normalizer_worker.subscriber import Connection
from shared.errors import Unavailable
from shared.topics import ALL_READINGS, readings_topic
from tests.support.servers import HOST, Broker
from tests.support.waiting import until


@pytest.fixture
def publisher(broker: Broker) -> Iterator[MqttPublisher]:
    publisher = MqttPublisher(HOST, broker.port)
    until(publisher._client.is_connected, "the publisher is connected")
    yield publisher
    publisher.close()


@pytest.fixture
def connection(broker: Broker) -> Iterator[Connection]:
    connection = Connection(HOST, broker.port, "test-worker", ALL_READINGS, 100)
    yield connection
    connection.close()


def test_a_confirmed_message_is_there(publisher: MqttPublisher, connection: Connection) -> None:
    publisher.publish(readings_topic(7), b"payload")
    message = until(lambda: connection.receive(0.05), "the message")
    assert (message.topic, message.payload, message.qos) == ("ships/7/readings", b"payload", 1)


def test_without_any_subscriber_nothing_is_accepted(publisher: MqttPublisher) -> None:
    """The broker throws such a message away, and confirms it all the same."""
    with pytest.raises(Unavailable, match="no worker"):
        publisher.publish(readings_topic(7), b"payload")


def test_a_worker_that_is_away_for_a_while_is_enough(publisher: MqttPublisher, connection: Connection) -> None:
    connection.close()
    publisher.publish(readings_topic(7), b"payload")


def test_with_the_broker_away_nothing_is_accepted_and_nothing_is_sent_later(
    broker: Broker, publisher: MqttPublisher, connection: Connection
) -> None:
    publisher.publish(readings_topic(7), b"before")
    message = until(lambda: connection.receive(0.05), "the message")
    connection.acknowledge([message])
    connection.close()
    broker.stop()
    until(lambda: not publisher._client.is_connected(), "the publisher notices")
    with pytest.raises(Unavailable, match="away"):
        publisher.publish(readings_topic(7), b"meanwhile")
    broker.start()
    until(publisher._client.is_connected, "the publisher is back")
    publisher.publish(readings_topic(7), b"after")
    again = Connection(HOST, broker.port, "test-worker", ALL_READINGS, 100)
    assert until(lambda: again.receive(0.05), "the message").payload == b"after"
    again.close()


def test_a_broker_that_hangs_is_not_waited_for_for_ever(
    broker: Broker, publisher: MqttPublisher, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_publisher, "PUBACK_S", 0.2)
    monkeypatch.setattr(mqtt_publisher, "MAX_DOUBTFUL_BYTES", 10)
    broker.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable, match="in time"):
            publisher.publish(readings_topic(7), b"x" * 11)
        with pytest.raises(Unavailable, match="too much is waiting"):
            publisher.publish(readings_topic(7), b"y")
    finally:
        broker.send_signal(signal.SIGCONT)
    until(lambda: connection.receive(0.05), "what was in doubt arrives all the same")

    def accepts() -> bool:
        try:
            publisher.publish(readings_topic(7), b"z")
        except Unavailable:
            return False
        return True

    until(accepts, "it accepts again")


@pytest.mark.usefixtures("connection")
def test_a_connection_lost_just_before_the_message_costs_that_message_alone(
    broker: Broker, publisher: MqttPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the connection and the message it may go; paho then keeps the message, and sends it later."""
    broker.stop()
    until(lambda: not publisher._client.is_connected(), "the publisher notices")
    with monkeypatch.context() as patched:
        patched.setattr(publisher._client, "is_connected", lambda: True)
        with pytest.raises(Unavailable, match="in time"):
            publisher.publish(readings_topic(7), b"x")
    assert publisher._doubtful
    broker.start()
    again = Connection(HOST, broker.port, "test-worker", ALL_READINGS, 100)
    until(lambda: not publisher._doubtful, "what was in doubt is settled")
    publisher.publish(readings_topic(7), b"y")
    assert not publisher._codes
    again.close()


@pytest.mark.usefixtures("connection")
def test_many_at_once_are_all_confirmed(publisher: MqttPublisher) -> None:
    with ThreadPoolExecutor(64) as pool:
        sent = [pool.submit(publisher.publish, readings_topic(i), b"x") for i in range(500)]
        for each in sent:
            each.result(20)
    assert not publisher._codes
    assert not publisher._doubtful
