"""The store in InfluxDB keeps the contract, and a few promises of its own."""

from itertools import count

import pytest

from shared.store.influx_server import Account
from shared.store.influxdb import InfluxStore
from tests.contracts.store_contract import MakeStore, Store, StoreContract
from tests.contracts.store_edges import StoreEdges
from tests.support.influxdb import InfluxDb

_databases = count()


class TestInfluxStore(StoreContract, StoreEdges):
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
