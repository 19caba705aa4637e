"""What every store must do with covariates, inherited like the contract."""

from itertools import permutations

import numpy as np

from normalizer_worker.recorder import Recorder
from shared.domain.covariates import NO_ROWS, Covariates, Table
from shared.domain.slots import DEFAULT_MAX_GAP_US
from shared.store.port import ReadingStore
from tests.support.store_contract import MakeStore
from tests.support.strategies import START_US


def covariates(ship: int, sent_at_us: int, *speeds: float, rows: int = 1) -> Covariates:
    """Make a table with a row for each speed, repeated."""
    speed = np.tile(np.array(speeds, np.float64), rows)
    moment_us = START_US + 900_000_000 * np.arange(len(speed), dtype=np.int64)
    return Covariates(ship, sent_at_us, Table(moment_us, {"planned_speed": speed, "b": -speed / 3}).content())


def put_covariates(store: ReadingStore, *tables: Covariates) -> None:
    """Put tables, each in a transaction of its own."""
    for each in tables:
        with store.transaction():
            store.put_covariates(each)


class StoreCovariates:
    """Inherited by one class per adapter, beside `StoreContract`."""

    def test_covariates_are_kept_ship_by_ship_and_replaced_whole(self, make_store: MakeStore) -> None:
        store = make_store()
        assert store.covariates(1) is None
        first, second, other = covariates(1, 5, 1.5, np.nan), covariates(1, 6, 12.0), covariates(2, 5, 1.0)
        put_covariates(store, first, other)
        assert [store.covariates(1), store.stored_covariates(1), store.covariates(2)] == [first, first, other]
        put_covariates(store, second)
        assert [store.covariates(1), store.covariates(2), store.covariates(3)] == [second, other, None]
        assert second.table().values["planned_speed"].tolist() == [12.0]
        store.close()

    def test_the_largest_covariates_come_back_as_they_were_put(self, make_store: MakeStore) -> None:
        """Longer ones, shorter ones and longer ones again: nothing is left of those before."""
        store = make_store()
        for sent_at_us, rows in enumerate((20_000, 3, 7_000, 20_000, 1)):
            large = covariates(1, sent_at_us, 0.1, 1 / 3, -1e12, rows=rows // 3 + 1)
            put_covariates(store, large)
            assert store.covariates(1) == large
        store.close()

    def test_removed_covariates_are_known_to_be_removed(self, make_store: MakeStore) -> None:
        store = make_store()
        put_covariates(store, covariates(1, 5, 1.0), Covariates(1, 6, NO_ROWS))
        assert store.covariates(1) == Covariates(1, 6, NO_ROWS)
        store.close()

    def test_a_ship_with_nothing_but_covariates_is_known(self, make_store: MakeStore) -> None:
        store = make_store()
        put_covariates(store, covariates(7, 5, 1.0), covariates(3, 5, 1.0))
        assert store.known_ships(-1, 9) == [3, 7]
        assert store.known_ships(3, 9) == [7]
        store.close()

    def test_the_covariates_sent_last_count_in_any_order(self, make_store: MakeStore) -> None:
        """Repeats, a removal, and two of one moment among them."""
        store = make_store()
        recorder = Recorder(store, DEFAULT_MAX_GAP_US)
        for ship, order in enumerate(permutations(range(4))):
            tables = [
                covariates(ship, 7, 1.0),
                Covariates(ship, 8, NO_ROWS),
                *(covariates(ship, 9, s) for s in (2.0, 3.0)),
            ]
            for at in (*order, *order[:2]):
                recorder.put_covariates(tables[at])
            assert store.covariates(ship) == tables[3]
        store.close()
