"""A worker loses its connection at a moment at which it does not look."""

from uuid import UUID

import pytest

from normalizer_worker.mqtt import receipts
from normalizer_worker.mqtt.acknowledgements import Done
from shared.domain.errors import Unavailable
from tests.support.cluster import PARTITIONS, Cluster
from tests.support.partitioned import ClusterWorker, PartitionedStore
from tests.support.waiting import until


@pytest.mark.parametrize("has_receipt", [True, False])
def test_connection_lost_while_the_store_works_is_unavailable(cluster: Cluster, *, has_receipt: bool) -> None:
    """Only the thread that sends heartbeats has seen it; for what is sent then, pika raises an error of its own."""
    cluster.publish(7, b"{}")
    connection = ClusterWorker(cluster.url("amqp"), PartitionedStore(), PARTITIONS, "worker").connect()
    number = connection.next_partition(20)
    assert number is not None
    source = connection.of(number)
    message = source.receive(0)
    assert message is not None
    with source.kept_alive():
        cluster.end_connection("worker")
        until(lambda: connection._link._is_closed, "the connection is lost")
    receipt = receipts.stored(message, 7, UUID(int=1), 1) if has_receipt else None
    with pytest.raises(Unavailable, match="CONNECTION_FORCED"):
        source.finish([Done(message, receipt)])
    connection.close()
