"""A RabbitMQ that lost what it had in memory: every ship stays in its partition."""

from pathlib import Path

from normalizer_worker.mqtt.acknowledgements import Done
from shared.contract.topology import queue_name
from tests.support.cluster import PARTITIONS, Cluster
from tests.support.partitioned import ClusterWorker, PartitionedStore
from tests.support.rabbitmq import RabbitMq
from tests.support.servers import started
from tests.support.waiting import until

SHIPS = range(40)


def partitions(cluster: Cluster) -> dict[str, int]:
    """Send for some ships, and tell in which partition each one's message comes, by topic."""
    for ship in SHIPS:
        cluster.publish(ship, b"{}")
    connection = ClusterWorker(cluster.url("amqp"), PartitionedStore(), PARTITIONS).connect()
    found: dict[str, int] = {}
    while len(found) < len(SHIPS):
        number = connection.next_partition(20)
        assert number is not None
        source = connection.of(number)
        while (message := source.receive(0)) is not None:
            found[message.topic] = number
            source.finish([Done(message)])
    connection.close()
    return found


def are_on_disk(folder: Path) -> bool:
    """Tell whether RabbitMQ has written the names of all queues, which takes it a moment.

    If it is killed before, a queue whose name is missing takes no message for long.
    """
    names = b"".join(each.read_bytes() for each in folder.rglob("quorum/*/names.dets"))
    return all(queue_name(number).encode() in names for number in range(PARTITIONS))


def test_ships_stay_in_their_partitions_when_all_nodes_were_down(tmp_path: Path) -> None:
    """RabbitMQ's older database would have the exchange's queues in another order then."""
    with started(RabbitMq(tmp_path)) as rabbitmq:
        cluster = Cluster(rabbitmq, "", tmp_path / "secrets")
        assert cluster.declare().returncode == 0
        before = partitions(cluster)
        assert len(set(before.values())) > PARTITIONS // 2
        until(lambda: are_on_disk(tmp_path), "all queues are on disk")
        (node,) = rabbitmq.nodes
        node.kill()
        node.start()
        rabbitmq.await_whole()
        assert partitions(cluster) == before
