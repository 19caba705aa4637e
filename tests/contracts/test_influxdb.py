"""The store in InfluxDB keeps the contract, and a few promises of its own."""

from collections.abc import Iterator
from itertools import count

import pytest

from shared.store.influx_server import Account
from shared.store.influxdb import InfluxStore
from tests.contracts.store_contract import MakeStore, Store, StoreContract
from tests.contracts.store_edges import StoreEdges
from tests.contracts.store_ships import StoreShips
from tests.support.engine import InfluxDb2, influxdb2
from tests.support.influxdb import InfluxDb

_databases = count()


class TestInfluxStore(StoreContract, StoreEdges, StoreShips):
    """The contract, on a real InfluxDB 1.x."""

    accounts: dict[int, Account]

    @pytest.fixture
    def make_store(self, influxdb: InfluxDb) -> MakeStore:
        """Make stores in databases of their own."""
        self.accounts = {}

        def make() -> InfluxStore:
            account = Account(influxdb.url, f"contract{next(_databases)}")
            store = InfluxStore(account)
            self.accounts[id(store)] = account
            with store.transaction():
                pass  # as a worker does at its start
            return store

        return make

    def same_store_again(self, store: Store) -> Store:
        """Open the same database."""
        return InfluxStore(self.accounts[id(store)])


@pytest.fixture(scope="session")
def server2() -> Iterator[InfluxDb2]:
    """One InfluxDB 2 in a container, or a skip that says why there is none."""
    with influxdb2() as server:
        yield server


@pytest.mark.engine
class TestInfluxStoreOnVersion2(StoreContract, StoreEdges, StoreShips):
    """The contract, on the image that the service is composed with."""

    accounts: dict[int, Account]

    @pytest.fixture
    def make_store(self, server2: InfluxDb2) -> MakeStore:
        """Make stores in buckets of their own."""
        self.accounts = {}

        def make() -> InfluxStore:
            account = server2.bucket()
            store = InfluxStore(account)
            self.accounts[id(store)] = account
            with store.transaction():
                pass  # as a worker does at its start
            return store

        return make

    def same_store_again(self, store: Store) -> Store:
        """Open the same bucket."""
        return InfluxStore(self.accounts[id(store)])
