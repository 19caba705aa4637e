"""Fixtures that several kinds of tests share."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ingest_api.outbox.outbox import Outbox
from tests.support.authenticated_broker import AuthenticatedBroker
from tests.support.influxdb import InfluxDb
from tests.support.influxdb2 import new_influxdb
from tests.support.outbox import an_outbox
from tests.support.postgres import Postgres
from tests.support.programs import missing, told
from tests.support.rabbitmq import RabbitMq
from tests.support.servers import Broker, Service, WatchedService, started
from tests.support.stores import STORES, service_on

# Servers answer when they can: how long an example took says nothing of the code. CI's profile has it so already.
settings.register_profile("unhurried", settings.get_profile(settings.get_current_profile_name()), deadline=None)
settings.load_profile("unhurried")

# On one machine nothing is under way for long: a worker that follows one that was killed need not wait 30 s.
os.environ.setdefault("INFLUXDB_SETTLE_S", "1")


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of processes for `-n auto`: more than processors, because most tests of servers wait."""
    return min(1 + (os.cpu_count() or 1), 8)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    """End with a line for each missing program, in the place of one for each test that needs it."""
    skipped = terminalreporter.stats.get("skipped", [])
    found = [missing(each) for each in skipped]
    terminalreporter.stats["skipped"] = [each for each, what in zip(skipped, found, strict=True) if not what]
    yield
    if skipped:
        terminalreporter.stats["skipped"] = skipped
    for line in told(filter(None, found)):
        terminalreporter.write_line(line, yellow=True)


@pytest.fixture(scope="session", params=STORES)
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One whole service on each store for all tests that can share it: each uses ships of its own."""
    with started(service_on(request, tmp_path_factory.mktemp("service") / "data")) as service:
        yield service


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for one test alone."""
    with started(Broker(tmp_path_factory.mktemp("broker"))) as broker:
        yield broker


@pytest.fixture
def own(tmp_path: Path) -> Iterator[WatchedService]:
    """A whole service for one test alone."""
    with started(WatchedService(tmp_path / "data")) as service:
        yield service


@pytest.fixture(scope="module")
def authenticated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthenticatedBroker]:
    """A broker that asks who is there, with a listener for TLS, too, for the tests of one file."""
    broker = AuthenticatedBroker(tmp_path_factory.mktemp("authenticated"))
    broker.add_tls()
    with started(broker):
        yield broker


@pytest.fixture
def outbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outbox]:
    """An outbox for one test alone, with much room."""
    with an_outbox(tmp_path_factory.mktemp("outbox")) as outbox:
        yield outbox


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDb]:
    """One InfluxDB for all tests that can share it: each uses a database of its own."""
    with started(new_influxdb(tmp_path_factory.mktemp("influxdb"))) as influxdb:
        yield influxdb


@pytest.fixture
def database(influxdb: InfluxDb) -> Iterator[str]:
    """An empty database of the shared InfluxDB, for one test alone."""
    name = influxdb.create(f"test{next(_databases)}")
    yield name
    influxdb.drop(name)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    """One RabbitMQ for all tests that can share it: each uses a virtual host of its own."""
    with started(RabbitMq(tmp_path_factory.mktemp("rabbitmq"))) as rabbitmq:
        yield rabbitmq


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for all tests that can share it: each uses a database of its own."""
    with started(Postgres()) as postgres:
        yield postgres


_databases = iter(range(1, 1_000_000))
_ships = iter(range(1_000_000, 2_000_000))


@pytest.fixture
def ship() -> int:
    """A ship that no other test uses."""
    return next(_ships)
