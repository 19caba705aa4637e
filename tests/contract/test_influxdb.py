"""The store in InfluxDB keeps the contract, and a few promises of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from shared.store.influx import covariates as influx_covariates
from shared.store.influx import kept_sums
from shared.store.influx.server import Account
from shared.store.influx.store import InfluxStore
from tests.support.influxdb import InfluxDb
from tests.support.influxdb2 import InfluxDb2
from tests.support.influxdb_container import InfluxDbContainer, influxdb_container
from tests.support.store_contract import MakeStore, StoreContract
from tests.support.store_covariates import StoreCovariates, covariates, put_covariates
from tests.support.store_edges import StoreEdges
from tests.support.store_ships import StoreShips

_databases = count()


@contextmanager
def _dropping(influxdb: InfluxDb, account: Callable[[str], Account]) -> Iterator[Callable[[], Account]]:
    """Give what names accounts in new databases, and drop these afterwards: each has dozens of files open."""
    names: list[str] = []

    def new_account() -> Account:
        names.append(f"contract{next(_databases)}")
        return account(names[-1])

    yield new_account
    for name in names:
        influxdb.drop(name)


class InfluxContract(StoreContract, StoreEdges, StoreShips, StoreCovariates):
    """The contract, on stores in databases of their own."""

    @pytest.fixture(autouse=True)
    def keep_sums(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keep sums as of a large fleet."""
        monkeypatch.setattr(kept_sums, "FEW_SHIPS", 1)

    @pytest.fixture
    def make_store(self, new_account: Callable[[], Account]) -> MakeStore:
        """Make stores."""

        def make() -> InfluxStore:
            store = InfluxStore(new_account())
            with store.transaction():
                pass  # as a worker does at its start
            return store

        return make

    @pytest.mark.parametrize("points", range(4))
    def test_covariates_that_are_half_written_hide_none_of_those_before(
        self, make_store: MakeStore, points: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However many of their points are there; and written again they count."""
        monkeypatch.setattr(influx_covariates, "PART_BYTES", 30)
        store = make_store()
        assert isinstance(store, InfluxStore)
        tables = [covariates(1, sent_at_us, float(sent_at_us), rows=3) for sent_at_us in range(4)]
        put_covariates(store, *tables[:2])
        write = store._server.write
        with monkeypatch.context() as patched:
            patched.setattr(store._server, "write", lambda lines: write(list(lines)[:points]))
            put_covariates(store, tables[2])
        assert store.covariates(1) == tables[1]
        put_covariates(store, tables[2])
        assert store.covariates(1) == tables[2]
        store.close()


class TestInfluxStore(InfluxContract):
    """On a real InfluxDB."""

    @pytest.fixture
    def new_account(self, influxdb: InfluxDb) -> Iterator[Callable[[], Account]]:
        """Name a new database."""
        with _dropping(influxdb, influxdb.account) as new_account:
            yield new_account


class TestInfluxStoreWithApiToken(InfluxContract):
    """On a real InfluxDB 2.x, with an API token in the place of a user."""

    @pytest.fixture
    def new_account(self, influxdb: InfluxDb) -> Iterator[Callable[[], Account]]:
        """Make a new bucket."""
        if not isinstance(influxdb, InfluxDb2):
            pytest.skip("InfluxDB 1.x has no API tokens")
        with _dropping(influxdb, influxdb.token) as new_account:
            yield new_account


@pytest.fixture(scope="session")
def container() -> Iterator[InfluxDbContainer]:
    """One InfluxDB 2 in a container, or a skip that says why there is none."""
    with influxdb_container() as container:
        yield container


@pytest.mark.engine
class TestInfluxStoreOnVersion2(InfluxContract):
    """On the image that the service is composed with."""

    @pytest.fixture
    def new_account(self, container: InfluxDbContainer) -> Callable[[], Account]:
        """Make a new bucket."""
        return container.bucket
