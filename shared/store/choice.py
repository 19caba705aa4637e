"""Which store the settings choose."""

import logging

from shared.domain.errors import Unavailable
from shared.runtime.settings import StoreSettings
from shared.store.influx.server import Account
from shared.store.influx.store import InfluxStore
from shared.store.sqlite import SqliteStore

log = logging.getLogger(__name__)


def open_store(settings: StoreSettings, *, cache_kib: int = 8192) -> SqliteStore | InfluxStore:
    """Open the store, with so much memory for SQLite's pages.

    A database that does not answer yet is waited for later: whatever is asked of the store is `Unavailable` until then.

    Raises:
        InvalidSettings: the store cannot be used.

    """
    if settings.store == "embedded":
        return SqliteStore(settings.data_dir, cache_kib=cache_kib)
    account = Account(
        settings.influxdb_url, settings.influxdb_bucket, settings.influxdb_token or "", settings.influxdb_org
    )
    store = InfluxStore(account, settle_s=settings.influxdb_settle_s)
    try:
        store.check()
    except Unavailable as error:
        log.warning("%s", error)
    except BaseException:
        store.close()
        raise
    return store
