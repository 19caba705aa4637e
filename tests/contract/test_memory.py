"""The store in memory keeps the contract."""

import pytest

from shared.domain.readings import Kind
from shared.domain.slots import Window
from shared.store.memory import MemoryStore
from tests.support.columns import as_columns
from tests.support.store_contract import MakeStore, StoreContract, put, slots_of
from tests.support.store_covariates import StoreCovariates, covariates
from tests.support.store_edges import StoreEdges
from tests.support.store_ships import StoreShips
from tests.support.strategies import START_US


class TestMemoryStore(StoreContract, StoreEdges, StoreShips, StoreCovariates):
    """The contract, in memory."""

    @pytest.fixture
    def make_store(self) -> MakeStore:
        """Make empty stores."""
        return MemoryStore


def test_an_error_inside_a_transaction_undoes_it() -> None:
    """Replaced and removed rows are there again, and new ones are not."""
    store = MemoryStore()
    put(store, as_columns([(1, START_US, 1.0, Kind.POWER_KW, 0)]))
    put(store, slots_of((1, 0, 1.0, 900.0, False), (1, 1, 2.0, 900.0, False)))

    def fail() -> None:
        with store.transaction():
            for value in (2.0, 3.0):
                store.put_readings(as_columns([(1, START_US, value, Kind.POWER_KW, 0)]))
            store.put_readings(as_columns([(2, START_US, 2.0, Kind.POWER_KW, 0)]))
            rows = slots_of((1, 0, 0.0, 0.0, False), (1, 1, 9.0, 900.0, False), (2, 0, 1.0, 900.0, False))
            store.put_slots(rows, rows.emptied())
            store.put_covariates(covariates(1, 5, 1.0))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [store.readings(ship, 0, 2**60, 9).value.tolist() for ship in (1, 2)] == [[1.0], []]
    assert [store.slots(ship, Window()).kwh.tolist() for ship in (1, 2)] == [[1.0, 2.0], []]
    assert store.covariates(1) is None
