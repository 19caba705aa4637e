"""Fixtures of the tests at a real broker."""

from collections.abc import Iterator

import pytest

from tests.support.servers import Broker
from tests.support.session import Worker


@pytest.fixture
def worker(broker: Broker) -> Iterator[Worker]:
    """A session of a worker at a broker of its own."""
    worker = Worker(broker)
    yield worker
    worker.close()
