"""What the measurements need from a database; `embedded` and `influxdb` provide it."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.encoders import SlotRows
from benchmarks.load import Batch
from shared.domain.readings import Readings
from shared.domain.slots import Slots
from shared.runtime.settings import StoreSettings
from shared.store.choice import AnyStore, open_store


@dataclass(frozen=True, slots=True)
class Goals:
    """The goals of the service with one store.

    Attributes:
        mqtt_per_s: readings per second in batches over MQTT, at least.
        http_per_s: the same over HTTP.
        share: the fraction of the rate of bare writes for batches over MQTT, at least; 0 for no such goal.
        year_ms: for a year of one ship, at most.
        fleet_ms: for GET /data/fleet, at most.
        top_ms: for GET /topusers, at most.
        page_ms: for the first 100 ships of GET /ships, at most.
        ships_ms: for all of them, at most.
        top_of_month: whether to measure the top users of a month, besides those of all time.
        growth: by which factor GET /data/fleet may slow down with ten times as many ships; None for no such goal.
        top_growth: the same for GET /topusers.

    """

    mqtt_per_s: int
    http_per_s: int
    share: float
    year_ms: int
    fleet_ms: int
    top_ms: int
    page_ms: int
    ships_ms: int
    top_of_month: bool
    growth: float | None
    top_growth: float | None


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
    """How `year` reads, in words."""

    def prepared(self, batches: Sequence[Batch]) -> Callable[[], None]:
        """Return a function that writes the readings and slots of batches, which are encoded beforehand."""
        ...

    def year(self) -> SlotRows:
        """Read the slots of ship 0."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Filled(Protocol):
    """A store that is filled directly; see `ReadingStore`."""

    def transaction(self) -> AbstractContextManager[object]:
        """See `ReadingStore`."""

    def put_readings(self, readings: Readings) -> None:
        """See `ReadingStore`."""

    def put_slots(self, slots: Slots, was: Slots) -> None:
        """See `ReadingStore`."""

    def close(self) -> None:
        """Close it."""


@dataclass(frozen=True, slots=True)
class Place:
    """The storage of one service; empty at first.

    Attributes:
        folder: the data folder of the service.
        environ: the settings of the store.
        poller: connects to the store; a service must have been started.
        bare_client: connects to the database without the service.
        workers: how many workers of a cluster the service has; 0 for the worker of a single machine.
        mqtt_port: that of the broker, if the service does not start one.

    """

    folder: Path
    environ: Mapping[str, str]
    poller: Callable[[], Poller]
    bare_client: Callable[[], BareClient]
    workers: int = 0
    mqtt_port: int | None = None

    def open_store(self, *, cache_kib: int = 8192) -> AnyStore:
        """Open the store as the service does."""
        return open_store(StoreSettings.load({**os.environ, **self.environ}), cache_kib=cache_kib)

    def open_to_fill(self) -> Filled:
        """Open the store to fill it directly."""
        return self.open_store()


@dataclass(frozen=True, slots=True)
class Database:
    """One database, with its name and version. `new_place` creates an empty store, for a service's data folder."""

    name: str
    goals: Goals
    new_place: Callable[[Path], Place]
