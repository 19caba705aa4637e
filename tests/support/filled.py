"""Stores that are filled as a worker fills them, and what is in them."""

from contextlib import closing
from pathlib import Path

import numpy as np

from normalizer_worker.recorder import Recorder
from shared.domain.deletions import DeletionRow
from shared.domain.readings import Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, Slots, Window
from shared.domain.timestamps import LAST_US, US_PER_S
from shared.runtime.settings import StoreSettings
from shared.store.choice import open_store
from shared.store.sqlite import SqliteStore
from tests.support.strategies import every_five_minutes


def of_ship(readings: Readings, ship: int, *, later_us: int = 0, sent_at_us: int = 0) -> Readings:
    """Give the same readings to another ship."""
    n = len(readings)
    moment_us = readings.moment_us + later_us
    return Readings(np.full(n, ship), moment_us, readings.value, readings.kind, np.full(n, sent_at_us))


def fill(folder: Path, *batches: Readings, max_gap_us: int = DEFAULT_MAX_GAP_US) -> None:
    """Record batches in the embedded store in a folder."""
    with closing(SqliteStore(folder)) as store:
        store.pinned("POWER_MAX_GAP_S", str(max_gap_us // US_PER_S))
        recorder = Recorder(store, max_gap_us)
        for each in batches:
            recorder.record(each)


def delete(folder: Path, deletion: DeletionRow) -> None:
    """Record a deletion in the embedded store in a folder."""
    with closing(SqliteStore(folder)) as store:
        Recorder(store, DEFAULT_MAX_GAP_US).delete(deletion)


def fill_fleet(folder: Path, ships: int) -> None:
    """Record some readings of many ships."""
    fill(folder, *(of_ship(every_five_minutes(ship % 7, 30, value=ship / 3), ship) for ship in range(ships)))


def contents(url: str, ship: int) -> tuple[Readings, Slots]:
    """Read all of a ship from the store with an address, sent as POWER_STORE_URL."""
    with closing(open_store(StoreSettings.load({"POWER_STORE_URL": url}))) as store:
        return store.readings(ship, 0, LAST_US + 1, 10**6), store.slots(ship, Window())
