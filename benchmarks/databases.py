"""What the measurements need of the database behind a store; `embedded` and `influxdb` are the two there are."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.load import Batch
from shared.runtime.settings import StoreSettings
from shared.store.choice import open_store
from shared.store.influx.store import InfluxStore
from shared.store.sqlite import SqliteStore


@dataclass(frozen=True, slots=True)
class Goals:
    """What is wanted of the service with a store.

    Attributes:
        mqtt_per_s: readings per second, in batches over MQTT.
        http_per_s: the same over HTTP.
        share: of the rate of bare writes, for batches over MQTT; 0 where there is no such goal.
        year_ms: for a year of one ship.
        fleet_ms: for any answer about the fleet.
        ships_ms: for what is told of every ship.
        top_of_month: whether the top users of a month are such an answer, besides those of all time.
        growth: how many times as long an answer about the fleet may take with ten times as many ships, if that counts.

    """

    mqtt_per_s: int
    http_per_s: int
    share: float
    year_ms: int
    fleet_ms: int
    ships_ms: int
    top_of_month: bool
    growth: float | None


class Look(Protocol):
    """Another process's view of a store; looking costs the service next to nothing."""

    pause_s: float
    """How long to wait before looking again."""

    def missing(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Give those of some batches that are perhaps not stored yet; they continue what their ships have stored."""
        ...

    def close(self) -> None:
        """Look no more."""
        ...


class Bare(Protocol):
    """A client of the database that does without the service what is to be compared with it."""

    writes: str
    """What `prepared` does, in words."""
    reads: str
    """What `year` does, in words."""

    def prepared(self, batches: Sequence[Batch]) -> Callable[[], None]:
        """Give what writes the readings of some batches and their slots; only the writing itself is left to do."""
        ...

    def year(self) -> None:
        """Read the slots of ship 0, and write them down as JSON."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Place(Protocol):
    """Where one service stores, apart from all others; empty at first."""

    @property
    def folder(self) -> Path:
        """The data folder of the service."""
        ...

    @property
    def environ(self) -> Mapping[str, str]:
        """The settings of the store."""
        ...

    def look(self) -> Look:
        """Look at the store; a service must have been started."""
        ...

    def bare(self) -> Bare:
        """Write to or read from the place without the service."""
        ...


def open_store_in(place: Place, *, cache_kib: int = 8192) -> SqliteStore | InfluxStore:
    """Open the store of a place, as the service does."""
    return open_store(StoreSettings.load({**os.environ, **place.environ}), cache_kib=cache_kib)


class Database(Protocol):
    """One database with room for several stores."""

    kind: str
    """The store's name for `./power up --store`."""
    goals: Goals

    @property
    def name(self) -> str:
        """Its name and version."""
        ...

    def new_place(self, folder: Path) -> Place:
        """Make room for a store; the folder is for the service's own files."""
        ...
