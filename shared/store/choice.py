"""Which store the settings choose."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from shared.domain.errors import InvalidSettings, Unavailable
from shared.runtime.settings import StoreSettings
from shared.store.sqlite import SqliteStore

if TYPE_CHECKING:  # what only some services need takes time to import
    from shared.store.influx.store import InfluxStore
    from shared.store.postgres.store import OnePartitionStore, PostgresStore

log = logging.getLogger(__name__)

AnyStore: TypeAlias = "SqliteStore | InfluxStore | OnePartitionStore"
Opened = TypeVar("Opened", bound="InfluxStore | PostgresStore")


def open_store(settings: StoreSettings, *, cache_kib: int = 8192, writes: bool = False) -> AnyStore:
    """Open the store, with so much memory for SQLite's pages.

    A database that does not answer yet is waited for later: whatever is asked of the store is `Unavailable` until then.
    `writes` says that the caller is a worker: in PostgreSQL it makes the tables.

    Raises:
        InvalidSettings: the store cannot be used.

    """
    if settings.store == "embedded":
        return SqliteStore(settings.sqlite_folder, cache_kib=cache_kib)
    if settings.store == "postgresql":
        from shared.store.postgres.store import OnePartitionStore  # noqa: PLC0415  # see above

        one = OnePartitionStore(settings.store_url or "", settings.postgres_read_url)
        return _checked(one, one.check_writing if writes else one.check)
    from shared.store.influx.server import Account  # noqa: PLC0415
    from shared.store.influx.store import InfluxStore  # noqa: PLC0415

    account = Account(
        settings.influxdb_url, settings.influxdb_bucket, settings.influxdb_token or "", settings.influxdb_org
    )
    store = InfluxStore(account, settle_s=settings.influxdb_settle_s)
    return _checked(store, store.check)


def open_partitions(settings: StoreSettings) -> "PostgresStore":
    """Open the store of a cluster, for a worker; otherwise as `open_store`.

    Raises:
        InvalidSettings: the store cannot be used, or has no partitions.

    """
    if settings.store != "postgresql":
        raise InvalidSettings(
            f"POWER_STORE_URL is not set to a postgresql:// address: {settings.store} has no partitions"
        )
    from shared.store.postgres.store import PostgresStore  # noqa: PLC0415  # see above

    store = PostgresStore(settings.store_url or "", settings.postgres_read_url)
    return _checked(store, store.check_writing)


def details(store: object) -> Callable[[], Mapping[str, str]]:
    """Return what a process tells of its store beside whether it is ready: what is promised for data in it."""

    def told() -> Mapping[str, str]:
        promise = getattr(store, "promise", "")
        return {"store": promise} if promise else {}

    return told


def _checked(store: Opened, check: Callable[[], None]) -> Opened:
    try:
        check()
    except Unavailable as error:
        log.warning("%s", error)
    except BaseException:
        store.close()
        raise
    return store
