"""Which store the settings choose, and what a machine without a cluster does not load."""

import subprocess
import sys

import pytest

from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings
from shared.runtime.settings import StoreSettings
from shared.store.choice import details, open_partitions, open_store
from shared.store.postgres.store import OnePartitionStore
from tests.support.postgres import Postgres


@pytest.mark.parametrize("module", ["normalizer_worker.__main__", "query_api.__main__", "power_cli.http"])
def test_what_only_a_cluster_needs_is_loaded_for_a_cluster_only(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'psycopg', 'pika'}} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


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
