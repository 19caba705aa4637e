"""A RabbitMQ, and a virtual host of it for each test."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import PARTITIONS, Cluster
from tests.support.partitioned import Workers
from tests.support.rabbitmq import RabbitMq

_numbers = itertools.count()


@pytest.fixture
def undeclared(rabbitmq: RabbitMq, tmp_path: Path) -> Iterator[Cluster]:
    """An empty virtual host for one test alone."""
    name = f"test{next(_numbers)}"
    rabbitmq.add_vhost(name)
    yield Cluster(rabbitmq, name, tmp_path / "secrets")
    rabbitmq.drop_vhost(name)


@pytest.fixture
def cluster(undeclared: Cluster) -> Cluster:
    """The same with everything that a cluster needs."""
    undeclared.make()
    return undeclared


@pytest.fixture
def workers(cluster: Cluster) -> Iterator[Workers]:
    """Starts workers for one test alone."""
    workers = Workers(cluster.url("amqp"), PARTITIONS)
    yield workers
    workers.stop()
