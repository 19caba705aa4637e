"""The store in PostgreSQL keeps the contract, and a few promises of its own."""

import pytest

from shared.store.postgres.store import OnePartitionStore
from tests.support.postgres import Postgres
from tests.support.store_contract import MakeStore, StoreContract
from tests.support.store_edges import StoreEdges
from tests.support.store_ships import StoreShips


class TestPostgresStore(StoreContract, StoreEdges, StoreShips):
    """The contract, on databases of their own."""

    @pytest.fixture
    def make_store(self, postgres: Postgres) -> MakeStore:
        """Make stores."""

        def make() -> OnePartitionStore:
            store = OnePartitionStore(postgres.emptied())
            store.check_writing()
            return store

        return make
