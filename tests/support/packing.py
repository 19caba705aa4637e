"""An embedded store that packs all it has after every transaction, a few readings at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.store.sqlite import SqliteStore
from shared.store.sqlite_packing import FROM_START
from shared.store.sqlite_readings import Place, ReadingTables
from tests.support.store_contract import EVER_US

MOST = 3


class PackingStore(SqliteStore):
    """As if every day were long past when its first reading comes; packs are short, so that days have several."""

    @contextmanager
    def transaction(self) -> Iterator[object]:
        """See `ReadingStore`."""
        with super().transaction() as connection:
            yield connection
        pack_all(self)


def pack_all(store: SqliteStore, until_us: int = EVER_US, *, least: int = 1, most: int = MOST) -> None:
    """Pack what is older than a time."""
    with store._file.transaction() as connection:
        tables = ReadingTables(connection)
        place: Place | None = FROM_START
        while place:
            place = tables.pack(place, until_us, least=least, most=most)
