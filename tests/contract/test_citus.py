"""The store in PostgreSQL keeps the contract on Citus, too, with its tables distributed over two nodes."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from shared.store.postgres.store import OnePartitionStore
from tests.support.citus import Citus
from tests.support.servers import started
from tests.support.store_contract import MakeStore, StoreContract
from tests.support.store_covariates import StoreCovariates
from tests.support.store_edges import StoreEdges
from tests.support.store_ships import StoreShips


@pytest.fixture(scope="module")
def citus() -> Iterator[Citus]:
    with started(Citus()) as citus:
        yield citus


class TestCitusStore(StoreContract, StoreEdges, StoreShips, StoreCovariates):
    """The contract, on databases of their own."""

    @pytest.fixture
    def make_store(self, citus: Citus) -> MakeStore:
        """Make stores."""

        def make() -> OnePartitionStore:
            store = OnePartitionStore(citus.emptied())
            store.check_writing()
            return store

        return make


def test_all_tables_are_distributed(citus: Citus) -> None:
    """A partition's rows are on one node, those of all tables."""
    url = citus.create()
    with closing(OnePartitionStore(url)) as store:
        store.check_writing()
    found = citus.run("SELECT table_name::text, citus_table_type, colocation_id FROM citus_tables ORDER BY 1", url=url)
    assert {name for name, kind, _ in found if kind == "reference"} == {"pinned", "power_schema", "ships"}
    distributed = [colocation for _, kind, colocation in found if kind == "distributed"]
    assert len(distributed) == len(found) - 3 == 10
    assert len(set(distributed)) == 1
