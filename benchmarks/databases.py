"""What the measurements need from a database; `embedded` and `influxdb` implement it."""

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
    """The goals of the service with one store.

    Attributes:
        mqtt_per_s: readings per second in batches over MQTT, at least.
        http_per_s: the same over HTTP.
        share: the fraction of the rate of bare writes for batches over MQTT, at least; 0 for no such goal.
        year_ms: for a year of one ship, at most.
        fleet_ms: for each answer about the fleet, at most.
        ships_ms: for GET /ships, at most.
        top_of_month: whether to measure the top users of a month, besides those of all time.
        growth: by which factor fleet answers may slow down with ten times as many ships; None for no such goal.

    """

    mqtt_per_s: int
    http_per_s: int
    share: float
    year_ms: int
    fleet_ms: int
    ships_ms: int
    top_of_month: bool
    growth: float | None


class Poller(Protocol):
    """A client that polls a store for stored batches, at almost no cost for the service."""

    pause_s: float
    """How long to wait between two polls."""

    def missing(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """Return the batches that may not be stored yet; they must follow all stored readings of their ships."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class BareClient(Protocol):
    """A client that writes to and reads from the database directly, as the baseline for the service."""

    writes: str
    """What `prepared` does, in words."""
    reads: str
    """What `year` does, in words."""

    def prepared(self, batches: Sequence[Batch]) -> Callable[[], None]:
        """Return a function that writes the readings and slots of batches, which are encoded beforehand."""
        ...

    def year(self) -> None:
        """Read the slots of ship 0 and encode them as JSON."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Place(Protocol):
    """The storage of one service; empty at first."""

    @property
    def folder(self) -> Path:
        """The data folder of the service."""
        ...

    @property
    def environ(self) -> Mapping[str, str]:
        """The settings of the store."""
        ...

    def poller(self) -> Poller:
        """Connect to the store; a service must have been started."""
        ...

    def bare_client(self) -> BareClient:
        """Connect to the database without the service."""
        ...


def open_store_in(place: Place, *, cache_kib: int = 8192) -> SqliteStore | InfluxStore:
    """Open the store of a place, as the service does."""
    return open_store(StoreSettings.load({**os.environ, **place.environ}), cache_kib=cache_kib)


class Database(Protocol):
    """One database, which can hold several stores."""

    kind: str
    """The store's name for `./power up --store`."""
    goals: Goals

    @property
    def name(self) -> str:
        """Its name and version."""
        ...

    def new_place(self, folder: Path) -> Place:
        """Create an empty store; the folder is for the service's own files."""
        ...
