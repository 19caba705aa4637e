"""The store in InfluxDB keeps the contract, and a few promises of its own."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from shared.store.influx.server import Account
from shared.store.influx.store import InfluxStore
from tests.support.influxdb import InfluxDb
from tests.support.influxdb2 import InfluxDb2, influxdb2
from tests.support.store_contract import MakeStore, StoreContract
from tests.support.store_edges import StoreEdges
from tests.support.store_ships import StoreShips

_databases = count()


class InfluxContract(StoreContract, StoreEdges, StoreShips):
    """The contract, on stores in databases of their own."""

    @pytest.fixture
    def make_store(self, new_account: Callable[[], Account]) -> MakeStore:
        """Make stores."""

        def make() -> InfluxStore:
            store = InfluxStore(new_account())
            with store.transaction():
                pass  # as a worker does at its start
            return store

        return make


class TestInfluxStore(InfluxContract):
    """On a real InfluxDB 1.x."""

    @pytest.fixture
    def new_account(self, influxdb: InfluxDb) -> Callable[[], Account]:
        """Name a new database."""
        return lambda: Account(influxdb.url, f"contract{next(_databases)}")


@pytest.fixture(scope="session")
def server2() -> Iterator[InfluxDb2]:
    """One InfluxDB 2 in a container, or a skip that says why there is none."""
    with influxdb2() as server:
        yield server


@pytest.mark.engine
class TestInfluxStoreOnVersion2(InfluxContract):
    """On the image that the service is composed with."""

    @pytest.fixture
    def new_account(self, server2: InfluxDb2) -> Callable[[], Account]:
        """Make a new bucket."""
        return server2.bucket
