"""Which store the settings choose."""

import pytest

from shared.domain.errors import InvalidSettings
from shared.runtime.settings import StoreSettings
from shared.store.choice import details, open_partitions, open_store
from shared.store.postgres.store import OnePartitionStore
from tests.support.postgres import Postgres


def test_only_postgresql_has_partitions() -> None:
    with pytest.raises(InvalidSettings, match=r"^POWER_STORE_URL is not set to a postgresql:// address"):
        open_partitions(StoreSettings.load({}))


def test_what_postgresql_promises_is_a_detail_of_readiness(postgres: Postgres) -> None:
    settings = StoreSettings.load({"POWER_STORE_URL": postgres.create()})
    store = open_store(settings, writes=True)
    assert isinstance(store, OnePartitionStore)
    assert details(store)() == {"store": store.promise}
    assert "it survives a crash" in store.promise
    store.close()
    assert details(object())() == {}
