"""The worker's connection against a real broker: what is not acknowledged comes again, and only there."""

import signal
import socket

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from normalizer_worker.mqtt import keepalive, session
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.mqtt.receipts import Receipt
from shared.domain.errors import Unavailable
from tests.support.servers import HOST, Broker
from tests.support.session import Worker, payloads, publish, receive
from tests.support.waiting import until

NOTHING_COMES_S = 0.3


def done(messages: list[Message]) -> list[Done]:
    return [Done(message) for message in messages]


def test_messages_come_in_order_and_once_acknowledged_never_again(broker: Broker, worker: Worker) -> None:
    connection = worker.connect()
    publish(broker, b"a", b"b", b"c")
    messages = receive(connection, 3)
    assert payloads(messages) == [b"a", b"b", b"c"]
    assert {message.topic for message in messages} == {"ships/1/readings"}
    connection.finish(done(messages[:2]))
    connection.close()
    again = worker.connect()
    assert payloads(receive(again, 1)) == [b"c"]
    assert again.receive(NOTHING_COMES_S) is None


def test_what_comes_while_nobody_is_connected_waits(broker: Broker, worker: Worker) -> None:
    worker.connect().close()
    publish(broker, b"a")
    assert payloads(receive(worker.connect(), 1)) == [b"a"]


def test_an_acknowledgement_on_a_lost_connection_deletes_nothing(broker: Broker, worker: Worker) -> None:
    """Packet identifiers are used again: a late acknowledgement must not reach another connection."""
    first = worker.connect()
    publish(broker, b"a")
    old = receive(first, 1)
    second = worker.connect()  # takes the session over
    assert payloads(receive(second, 1)) == [b"a"]

    def acknowledge_again() -> None:
        first.finish(done(old))
        first.receive(0.05)

    with pytest.raises(Unavailable):
        until(acknowledge_again, "the first connection notices")
    second.close()
    assert payloads(receive(worker.connect(), 1)) == [b"a"]


def test_the_broker_holds_back_beyond_the_receive_maximum(broker: Broker, worker: Worker) -> None:
    connection = worker.connect(receive_maximum=2)
    publish(broker, b"a", b"b", b"c")
    held = receive(connection, 2)
    assert connection.receive(NOTHING_COMES_S) is None
    connection.finish(done(held))
    assert payloads(receive(connection, 1)) == [b"c"]


def test_more_than_the_brokers_usual_twenty_may_be_unacknowledged(broker: Broker, worker: Worker) -> None:
    connection = worker.connect(receive_maximum=100)
    publish(broker, *[b"%d" % i for i in range(60)])
    assert len(receive(connection, 60)) == 60


def test_a_retained_message_comes_with_the_first_subscription_only(broker: Broker, worker: Worker) -> None:
    publish(broker, b"kept", retain=True)
    connection = worker.connect()
    (message,) = receive(connection, 1)
    assert message.retained
    connection.finish(done([message]))
    connection.close()
    assert worker.connect().receive(NOTHING_COMES_S) is None


def test_a_message_of_eight_mebibytes_fits(broker: Broker, worker: Worker) -> None:
    connection = worker.connect()
    publish(broker, b"x" * (8 * 1024 * 1024 + 256))
    assert len(receive(connection, 1)[0].payload) == 8 * 1024 * 1024 + 256


def test_a_dead_broker_is_noticed(broker: Broker, worker: Worker) -> None:
    connection = worker.connect()
    broker.send_signal(signal.SIGKILL)
    with pytest.raises(Unavailable, match="lost"):
        until(lambda: connection.receive(0.05), "the connection notices")
    broker.stop()  # the kernel closes a dead process's sockets one by one: wait for the last
    with pytest.raises(Unavailable, match="no broker at"):
        worker.connect()


@pytest.mark.parametrize("text", ["\ufeff", "k" * 60_000, ""])
def test_no_property_of_a_message_stops_those_behind_it(broker: Broker, worker: Worker, text: str) -> None:
    """The broker passes on a U+FEFF that paho refuses; the message would come again and again."""
    connection = worker.connect()
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it so
    properties.UserProperty = [("key", text)]
    properties.ContentType = "application/json"
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    client.connect(HOST, broker.port)
    client.loop_start()
    client.publish("ships/1/readings", b"a", qos=1, properties=properties)
    client.publish("ships/1/readings", b"b", qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()
    messages = receive(connection, 2)
    assert payloads(messages) == [b"a", b"b"]
    connection.finish(done(messages))


def test_a_worker_that_polls_and_never_waits_sends_pings_too(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does while it has roll-ups to repair; the broker would end the connection."""
    pings: list[Client] = []
    send = Client._send_pingreq

    def pinging(client: Client) -> MQTTErrorCode:
        pings.append(client)
        return send(client)

    monkeypatch.setattr(Client, "_send_pingreq", pinging)
    monkeypatch.setattr(session, "KEEPALIVE_S", 1)
    connection = worker.connect()
    until(lambda: connection.receive(0) or len(pings) > 1, "pings")


def test_not_all_that_waits_is_taken_before_the_subscription_is_answered(
    broker: Broker, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes first, and may be a lot; what the broker then answers still counts."""
    monkeypatch.setattr(session, "HANDSHAKE_BYTES", 3_000_000)
    worker.connect().close()
    publish(broker, *[b"x" * 1_000_000] * 20)
    connection = worker.connect()
    assert len(connection._inbox) == 3
    assert connection._awaited == "subscription"
    receive(connection, 20)
    until(lambda: connection.receive(0.05) is None and not connection._awaited, "the answer")


SILENT = b"\x10\x11\x00\x04MQTT\x05\x02\x00\x01\x00\x00\x04mute"
"""A CONNECT of a client that promises a ping each second."""


def await_end_of_a_silent_connection(broker: Broker) -> None:
    """Wait until the broker ends the connection of a client that is silent from now on."""
    with socket.create_connection((HOST, broker.port), timeout=30) as mute:
        mute.sendall(SILENT)
        while mute.recv(100):
            pass


def busy(worker: Worker, broker: Broker) -> None:
    """Take a message, be busy with it for long, and finish it on the same connection."""
    connection = worker.connect()
    publish(broker, b"a")
    taken = receive(connection, 1)
    publish(broker, *[b"x" * 1_000_000] * 20)  # what comes meanwhile is not read
    with connection.kept_alive():
        await_end_of_a_silent_connection(broker)
    connection.finish(done(taken))
    assert payloads(receive(connection, 20)) == [b"x" * 1_000_000] * 20
    for _ in range(3):
        assert connection.receive(0.05) is None


def test_a_worker_that_is_busy_for_long_keeps_its_connection(
    broker: Broker, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker would end it, and the load that takes so long would come again, and so for ever."""
    monkeypatch.setattr(session, "KEEPALIVE_S", 1)
    busy(worker, broker)


def test_a_worker_that_hangs_loses_its_connection(
    broker: Broker, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "KEEPALIVE_S", 1)
    monkeypatch.setattr(keepalive, "MAX_BUSY_S", 0.5)
    with pytest.raises(Unavailable, match="lost"):
        busy(worker, broker)


def test_one_message_at_a_time_is_taken_however_many_receipts_are_on_their_way(broker: Broker, worker: Worker) -> None:
    """Paho reads as many packets at a time as it waits for confirmations: so many messages may be of full size."""
    connection, count = worker.connect(), 20
    publish(broker, *[b"small"] * count)
    small = receive(connection, count)
    publish(broker, *[b"x" * 10_000] * count)  # they come before what confirms the receipts
    connection.finish([Done(each, Receipt("ships/1/receipts", b"{}", None, "stored")) for each in small])
    assert connection._acknowledgements.unconfirmed == count
    for _ in range(count):
        assert receive(connection, 1)[0].payload == b"x" * 10_000
        assert not connection._inbox
    until(lambda: connection.receive(0.05) is None and not connection._acknowledgements.unconfirmed, "all is confirmed")
