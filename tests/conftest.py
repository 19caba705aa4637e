"""Fixtures that several kinds of tests share."""

from collections.abc import Iterator

import pytest

from tests.support.servers import Broker, Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One whole service for all tests that can share it: each uses ships of its own."""
    service = Service(tmp_path_factory.mktemp("service") / "data")
    service.start()
    yield service
    assert service.stop() == 0


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for one test alone."""
    broker = Broker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


_ships = iter(range(1_000_000, 2_000_000))


@pytest.fixture
def ship() -> int:
    """A ship that no other test uses."""
    return next(_ships)
