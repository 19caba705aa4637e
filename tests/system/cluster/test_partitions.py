"""Workers at a real RabbitMQ: who receives which partition, and what is acknowledged when."""

import json
import threading
from collections import Counter
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pika import BlockingConnection, URLParameters

from normalizer_worker.amqp import connection as amqp
from normalizer_worker.amqp import link as amqp_link
from normalizer_worker.amqp.connection import AmqpConnection
from normalizer_worker.amqp.inbox import Inbox
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.publish import Message
from shared.contract.topology import queue_name
from shared.domain.errors import InvalidSettings, Unavailable
from shared.domain.readings import Readings
from shared.domain.slots import Window
from tests.support.cluster import PARTITIONS, Cluster, is_even
from tests.support.partitioned import ClusterWorker, PartitionedStore, Workers
from tests.support.rabbitmq import PASSWORD, USER
from tests.support.servers import HOST
from tests.support.waiting import until


def batch(number: int, **members: Any) -> bytes:
    data = [{"datetime": f"2022-03-01T{number:02}:00:00Z", "value": 1}]
    known = {"batch_id": f"00000000-0000-4000-8000-{number:012}", "units": "kWh", "data": data}
    return json.dumps({**known, **members}).encode()


def unfinished(cluster: Cluster) -> int:
    """Tell how many messages the queues have, also those that a worker has and has not acknowledged."""
    with BlockingConnection(URLParameters(cluster.url("amqp"))) as connection:
        channel = connection.channel()
        return sum(
            channel.queue_declare(queue_name(number), passive=True).method.message_count or 0
            for number in range(PARTITIONS)
        )


def test_partitions_are_even_whenever_a_worker_comes_or_goes(cluster: Cluster, workers: Workers) -> None:
    started = [workers.start(f"worker-{number}") for number in range(3)]
    cluster.await_owners(lambda owners: is_even(owners, 3), "three have them")
    workers.start("worker-3")
    cluster.await_owners(lambda owners: is_even(owners, 4), "four have them")
    started[1].stop()
    cluster.await_owners(lambda owners: sum(owners.values()) == PARTITIONS and "worker-1" not in owners, "others", 15)
    cluster.await_owners(lambda owners: is_even(owners, 3), "the last one takes the seat that is free")


def test_status_names_the_owners(cluster: Cluster, workers: Workers) -> None:
    workers.start("only")
    until(lambda: {row[1] for row in cluster.status()} == {"only"}, "the owner of all partitions")


def test_all_ships_are_stored_each_in_one_partition(cluster: Cluster, workers: Workers) -> None:
    for number in range(2):
        workers.start(f"worker-{number}")
    cluster.await_owners(lambda owners: is_even(owners, 2), "two have them")
    for ship in range(40):
        cluster.publish(ship, *(batch(hour) for hour in range(3)))
    store = workers.store
    until(lambda: all(len(store.readings(ship, 0, 2**60, 9)) == 3 for ship in range(40)), "all readings")
    assert set(store.epochs.values()) == {1}, "each partition was taken over once"


def test_partition_moves_on_with_its_messages(cluster: Cluster, workers: Workers) -> None:
    """The first owner has some that it could not store, and so has not acknowledged."""
    first = workers.start("first")
    workers.store.is_away = True
    cluster.publish(7, *(batch(hour) for hour in range(5)))
    until(lambda: len(workers.store.takes) > 1, "the first has tried, more than once")
    workers.start("second")
    first.stop()
    workers.store.is_away = False
    until(lambda: len(workers.store.readings(7, 0, 2**60, 9)) == 5, "all readings")
    until(lambda: unfinished(cluster) == 0, "everything acknowledged")


def test_outage_of_the_store_is_outlasted_and_nothing_dropped(cluster: Cluster) -> None:
    """RabbitMQ 4 would drop a message after 20 deliveries, were the queues not told otherwise."""
    cluster.publish(7, batch(0))
    worker = ClusterWorker(cluster.url("amqp"), PartitionedStore(), PARTITIONS)
    for _ in range(25):
        connection = worker.connect()
        number = connection.next_partition(10)
        assert number is not None
        assert connection.of(number).receive(0) is not None
        connection.close()
    worker.start()
    until(lambda: len(worker.store.readings(7, 0, 2**60, 9)) == 1, "the reading")
    worker.stop()


def test_owner_that_was_replaced_writes_nothing_and_begins_anew(cluster: Cluster, workers: Workers) -> None:
    """The epoch of the partition has been raised behind its back, as another worker does that takes it over."""
    workers.start()
    cluster.publish(7, batch(0))
    store = workers.store
    until(lambda: len(store.readings(7, 0, 2**60, 9)) == 1, "the first reading")
    (partition,) = store.takes
    store.partition(partition)
    cluster.publish(7, batch(1))
    until(lambda: len(store.readings(7, 0, 2**60, 9)) == 2, "the second reading, over another connection")
    assert store.takes == [partition] * 3


def test_heartbeats_are_sent_while_the_store_works(
    cluster: Cluster, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amqp_link, "HEARTBEAT_S", 1)
    monkeypatch.setattr(amqp, "HEARTBEAT_S", 1)
    store = workers.store
    put, released = store.put_readings, threading.Event()

    def slow(readings: Readings, replaced: Readings | None = None) -> None:
        released.wait(6)  # longer than RabbitMQ waits for a heartbeat
        put(readings, replaced)

    store.put_readings = slow  # type: ignore[method-assign]
    worker = workers.start()
    cluster.publish(7, batch(0))
    until(lambda: len(store.readings(7, 0, 2**60, 9)) == 1, "the reading")
    until(lambda: unfinished(cluster) == 0, "acknowledged on the same connection")
    assert worker.store.takes == [worker.store.takes[0]]


class Ship:
    """A ship over MQTT 5 that hears its receipts."""

    def __init__(self, cluster: Cluster, ship: int, *topics: str) -> None:
        """Connect and subscribe."""
        self.came: list[MQTTMessage] = []
        self._topic = f"ships/{ship}/readings"
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(f"{cluster.vhost}:{USER}", PASSWORD)
        subscribed: list[Any] = []
        self._client.on_subscribe = lambda _c, _u, _mid, codes, _p: subscribed.append(codes)
        self._client.on_message = lambda _c, _u, message: self.came.append(message)
        self._client.connect(HOST, cluster.rabbitmq.nodes[0].mqtt_port)
        self._client.subscribe([(topic, 1) for topic in topics or [f"ships/{ship}/receipts"]])
        self._client.loop_start()
        until(lambda: subscribed, "the subscription")

    def send(self, payload: bytes, **properties: Any) -> None:
        """Publish a batch."""
        made = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it so
        for name, value in properties.items():
            setattr(made, name, value)
        self._client.publish(self._topic, payload, qos=1, properties=made).wait_for_publish(20)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()


@pytest.mark.parametrize("correlation", [b"abc", b"", b"\0\xff", "\N{ROCKET}".encode(), b"x" * 128])
def test_receipt_goes_where_it_is_asked_for_with_its_correlation_data(
    cluster: Cluster, workers: Workers, correlation: bytes
) -> None:
    """Whatever the bytes are: what AMQP makes of them must not end the ship's connection."""
    workers.start()
    ship = Ship(cluster, 7, "ships/7/answers/here")
    ship.send(batch(0), ResponseTopic="ships/7/answers/here", CorrelationData=correlation, UserProperty=[("a", "b")])
    until(lambda: ship.came, "the receipt")
    ship.send(batch(1), ResponseTopic="ships/7/answers/here", CorrelationData=b"next")
    until(lambda: len(ship.came) == 2, "the next receipt, over the same connection")
    ship.close()
    assert [getattr(each.properties, "CorrelationData", None) for each in ship.came] == [correlation, b"next"]
    assert json.loads(ship.came[0].payload)["status"] == "stored"


@pytest.mark.parametrize(
    "properties",
    [
        {"UserProperty": [("x-reply-to-topic", "elsewhere"), ("x-correlation-id", "y")]},
        {"UserProperty": [("k" * 300, "v" * 3000)] * 3},
        {"UserProperty": [("", "")]},
        {"ContentType": "a/b", "PayloadFormatIndicator": 1, "MessageExpiryInterval": 600},
        {"CorrelationData": b"x" * 1000},
        {"CorrelationData": b"\xff" * 1000},
        {"ResponseTopic": "ships/7/" + "a" * 200},
        {"ResponseTopic": "elsewhere"},
    ],
    ids=["names of headers", "long", "empty", "others", "long text", "long bytes", "long topic", "elsewhere"],
)
def test_odd_properties_stop_nothing(cluster: Cluster, workers: Workers, properties: dict[str, Any]) -> None:
    workers.start()
    ship = Ship(cluster, 7)
    ship.send(batch(0), **properties)
    ship.send(batch(1))
    until(lambda: any(b"000000000001" in each.payload for each in ship.came), "the receipt of the next batch")
    ship.close()
    until(lambda: unfinished(cluster) == 0, "everything acknowledged")


def test_receipt_that_nobody_takes_stops_nothing(cluster: Cluster, workers: Workers) -> None:
    """Nobody has subscribed to it, and the next ones go on."""
    workers.start()
    cluster.publish(7, *(batch(hour) for hour in range(20)))
    until(lambda: len(workers.store.readings(7, 0, 2**60, 99)) == 20, "all readings")
    until(lambda: unfinished(cluster) == 0, "everything acknowledged")


def test_invalid_message_becomes_a_dead_letter_and_those_behind_go_on(cluster: Cluster, workers: Workers) -> None:
    workers.start()
    cluster.publish(7, b"{", batch(0), b"\xff\xfe", batch(1, units="V"), batch(2))
    until(lambda: len(workers.store.readings(7, 0, 2**60, 9)) == 2, "the valid readings")
    until(lambda: len(workers.store.letters) == 3, "the dead letters")
    until(lambda: unfinished(cluster) == 0, "everything acknowledged")


def test_what_finds_no_room_in_memory_is_sent_again_in_its_order(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox
    monkeypatch.setattr(amqp, "Inbox", lambda: inbox(4_000))
    cluster.publish(7, *(batch(hour) for hour in range(20)))
    connection = ClusterWorker(cluster.url("amqp"), PartitionedStore(), PARTITIONS).connect()
    found: list[bytes] = []

    def take() -> bool:
        number = connection.next_partition(0.1)
        if number is not None:
            source = connection.of(number)
            came: list[Message] = []
            while (message := source.receive(0)) is not None:
                came.append(message)
            assert sum(each.size_bytes for each in came) < 4_000
            source.finish([Done(each) for each in came])
            found.extend(each.payload for each in came)
        return len(found) >= 20

    until(take, "all messages")
    connection.close()
    assert found == [batch(hour) for hour in range(20)]


def connecting(cluster: Cluster, partitions: int = PARTITIONS, **login: str) -> AmqpConnection:
    url = cluster.rabbitmq.url("amqp", cluster.vhost, **login)
    return ClusterWorker(url, PartitionedStore(), partitions).connect()


def test_wrong_password_is_one_line(cluster: Cluster) -> None:
    with pytest.raises(InvalidSettings, match=r"^RabbitMQ at \S+ refuses the login; check .* in POWER_BROKER_URL$"):
        connecting(cluster, password="wrong")  # noqa: S106


def test_missing_queues_are_one_line(undeclared: Cluster) -> None:
    with pytest.raises(InvalidSettings, match=r"no queue 'readings.0' in vhost .*; run ./power cluster declare$"):
        connecting(undeclared)


def test_fewer_partitions_than_the_broker_has_are_refused(cluster: Cluster) -> None:
    """Else nobody would receive the messages of the others."""
    with pytest.raises(InvalidSettings, match=rf"RabbitMQ has a queue readings\.{PARTITIONS - 1}, so it has more"):
        connecting(cluster, PARTITIONS - 1)


def test_more_partitions_than_the_broker_has_are_refused(cluster: Cluster) -> None:
    with pytest.raises(InvalidSettings, match=rf"no queue 'readings\.{PARTITIONS}'"):
        connecting(cluster, PARTITIONS + 1)


def test_broker_that_is_not_there_is_unavailable(cluster: Cluster) -> None:
    worker = ClusterWorker("amqp://guest:guest@127.0.0.1:1", PartitionedStore(), PARTITIONS)
    with pytest.raises(Unavailable, match=r"no RabbitMQ at 127\.0\.0\.1:1: .*refused"):
        worker.connect()
    assert cluster.owners() == Counter()


def test_worker_has_enough_rights_and_no_more(cluster: Cluster) -> None:
    """As the user that `./power cluster declare` has made."""
    password = (cluster.secrets / "mqtt_worker_password").read_text("utf-8").strip()
    url = cluster.rabbitmq.url("amqp", cluster.vhost, "worker", password)
    worker = ClusterWorker(url, PartitionedStore(), PARTITIONS)
    worker.start()
    ship = Ship(cluster, 7)
    ship.send(batch(0))
    until(lambda: ship.came, "the receipt")
    ship.close()
    worker.stop()
    with BlockingConnection(URLParameters(url)) as connection, pytest.raises(Exception, match="ACCESS_REFUSED"):
        connection.channel().queue_declare("another")
    assert worker.store.slots(7, Window()).ship.tolist()
