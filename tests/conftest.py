"""Fixtures that several kinds of tests share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from ingest_api.outbox import Outbox
from tests.support.influxdb import InfluxDb
from tests.support.outbox import an_outbox
from tests.support.servers import Broker, Service
from tests.support.stores import STORES, service_on

# Servers answer when they can: how long an example took says nothing of the code. CI's profile has it so already.
settings.register_profile("unhurried", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session", params=STORES)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One whole service on each store for all tests that can share it: each uses ships of its own."""
    service = service_on(request, tmp_path_factory.mktemp("service") / "data")
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


@pytest.fixture
def outbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outbox]:
    """An outbox for one test alone, with much room."""
    with an_outbox(tmp_path_factory.mktemp("outbox")) as outbox:
        yield outbox


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDb]:
    """One InfluxDB for all tests that can share it: each uses a database of its own."""
    influxdb = InfluxDb(tmp_path_factory.mktemp("influxdb"))
    influxdb.start()
    yield influxdb
    influxdb.stop()


@pytest.fixture
def database(influxdb: InfluxDb) -> Iterator[str]:
    """An empty database of the shared InfluxDB, for one test alone."""
    name = influxdb.create(f"test{next(_databases)}")
    yield name
    influxdb.drop(name)


_databases = iter(range(1, 1_000_000))
_ships = iter(range(1_000_000, 2_000_000))


@pytest.fixture
def ship() -> int:
    """A ship that no other test uses."""
    return next(_ships)
