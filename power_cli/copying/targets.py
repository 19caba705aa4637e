"""The stores that `./power copy` reads and writes, opened as the services open them."""

import os
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from normalizer_worker.data_folder import DataFolder
from normalizer_worker.recorder import Recorder
from power_cli.copying.parts import PART_READINGS
from shared.domain.columns import I64
from shared.domain.covariates import Covariates
from shared.domain.deletions import Deletions
from shared.domain.errors import InvalidInput, InvalidSettings
from shared.domain.readings import Readings
from shared.domain.timestamps import US_PER_S
from shared.runtime.settings import StoreSettings, WorkerSettings
from shared.store.choice import AnyStore, open_partitions, open_store
from shared.store.port import EnergyReader, ReadingStore
from shared.store.sqlite import FILE_NAME

if TYPE_CHECKING:  # only a cluster needs it, and the packages that it imports
    from shared.store.postgres.store import PostgresStore

MAX_GAP = "POWER_MAX_GAP_S"
CACHED_READINGS = 2 * PART_READINGS
_CHOICE = {
    "POWER_STORE",
    "POWER_STORE_URL",
    "POWER_POSTGRES_READ_URL",
    "INFLUXDB_URL",
    "INFLUXDB_ORG",
    "INFLUXDB_BUCKET",
}
_NEEDS_BROKER = (
    "each ship gets the partition that RabbitMQ gives it: name RabbitMQ with --broker amqp://USER:PASSWORD@HOST or"
    " POWER_AMQP_URL; or set POWER_PARTITIONS=1 if a single worker at an MQTT broker will write this store"
)


class Pinning(Protocol):
    """A store that keeps the settings it is bound to."""

    def pinned(self, name: str, value: str) -> str:
        """See `ReadingStore`."""


def environ() -> dict[str, str]:
    """Return the environment without what chooses a store; passwords and tokens stay."""
    return {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in _CHOICE}


def settings_of(option: str, url: str) -> StoreSettings:
    """Return the settings of a store.

    Raises:
        InvalidSettings: the address is wrong; the message names the option.

    """
    try:
        return StoreSettings.load({**environ(), "POWER_STORE_URL": url})
    except InvalidSettings as error:
        raise InvalidSettings(str(error).replace("POWER_STORE_URL", option)) from None


def check_different(source: StoreSettings, target: StoreSettings) -> None:
    """Refuse to copy a store onto itself."""
    if source.store == target.store == "embedded":
        is_same = source.sqlite_folder.resolve() == target.sqlite_folder.resolve()
    else:
        is_same = source.store_url == target.store_url
    if is_same:
        raise InvalidInput("--from and --to are the same store")


def open_source(settings: StoreSettings, stack: ExitStack) -> AnyStore:
    """Open the store to read.

    Raises:
        InvalidInput: it is not there.
        InvalidSettings: it cannot be used.

    """
    if settings.store == "embedded" and not (settings.sqlite_folder / FILE_NAME).exists():
        raise InvalidInput(f"there is no store in {settings.sqlite_folder}")
    return stack.enter_context(closing(open_store(settings)))


class Target(Protocol):
    """The store to write."""

    @property
    def reader(self) -> EnergyReader:
        """Its reading half."""

    def prepare(self, ships: Sequence[int]) -> None:
        """Learn where each ship belongs; before `record`."""

    def record(self, ship: int, readings: Readings) -> None:
        """Store readings of a ship, with their slots."""

    def delete(self, deletions: Deletions) -> None:
        """Store deletions of a ship, and delete what they concern."""

    def put_covariates(self, covariates: Covariates | None) -> None:
        """Store the covariates of a ship, if there are any."""

    def finish(self) -> None:
        """Do what is left to do."""


def open_target(settings: StoreSettings, source: Pinning, broker_url: str | None, stack: ExitStack) -> Target:
    """Open the store to write. It is bound to the same maximum gap as the source.

    Raises:
        InvalidInput: a worker is at work on it.
        InvalidSettings: it cannot be used, or is bound to other settings.

    """
    known = environ()
    if amqp_url := broker_url or known.get("POWER_AMQP_URL"):
        known = {**known, "POWER_BROKER_URL": amqp_url}
        known.pop("POWER_BROKER_URL_FILE", None)
    worker = WorkerSettings.load(known)
    gap_s = source.pinned(MAX_GAP, str(worker.max_gap_s))
    if settings.store == "postgresql" and (cluster := _cluster(settings, worker, stack)) is not None:
        _bind(cluster.store, gap_s)
        return ClusterTarget(cluster, int(gap_s) * US_PER_S)
    if settings.store == "embedded":
        folder = stack.enter_context(closing(DataFolder(settings.sqlite_folder)))
        if not folder.lock():
            raise InvalidInput(f"a worker is at work in {settings.sqlite_folder}: stop it first")
    store = stack.enter_context(closing(open_store(settings, writes=True)))
    _bind(store, gap_s)
    return StoreTarget(store, int(gap_s) * US_PER_S)


def _bind(store: Pinning, gap_s: str) -> None:
    pinned = store.pinned(MAX_GAP, gap_s)
    if pinned != gap_s:
        raise InvalidSettings(f"--from was filled with {MAX_GAP}={gap_s}, but --to with {pinned}: their slots differ")


class StoreTarget:
    """A store that one worker writes."""

    def __init__(self, store: AnyStore, max_gap_us: int) -> None:
        """Write to an open store."""
        self.reader: EnergyReader = store
        self._recorder = Recorder(store, max_gap_us, CACHED_READINGS)

    def prepare(self, ships: Sequence[int]) -> None:
        """See `Target`: all ships are in one place."""

    def record(self, ship: int, readings: Readings) -> None:  # noqa: ARG002  # as above
        """See `Target`."""
        self._recorder.record(readings)

    def delete(self, deletions: Deletions) -> None:
        """See `Target`."""
        for each in deletions.rows():
            self._recorder.delete(each)

    def put_covariates(self, covariates: Covariates | None) -> None:
        """See `Target`."""
        if covariates is not None:
            self._recorder.put_covariates(covariates)

    def finish(self) -> None:
        """See `Target`."""
        while self._recorder.tidy():
            pass


@dataclass(frozen=True, slots=True)
class Cluster:
    """A store in several partitions, and the broker that knows which ship is in which."""

    store: "PostgresStore"
    worker: WorkerSettings
    partitions: int


def _cluster(settings: StoreSettings, worker: WorkerSettings, stack: ExitStack) -> Cluster | None:
    """Open a store in partitions; None if it has one, and needs no broker.

    Raises:
        InvalidSettings: no RabbitMQ is named.

    """
    store = stack.enter_context(closing(open_partitions(settings)))
    from shared.store.postgres.store import PARTITIONS  # noqa: PLC0415  # see above

    found = store.read("SELECT value FROM pinned WHERE name = %s", (PARTITIONS,))
    partitions = int(found[0][0]) if found else worker.partitions
    if partitions == 1:
        return None
    if not (worker.broker_url and worker.broker.is_amqp):
        raise InvalidSettings(f"{store.name} has {partitions} partitions; {_NEEDS_BROKER}")
    return Cluster(store, worker, partitions)


class ClusterTarget:
    """A store in partitions, of which each worker of a cluster writes some."""

    def __init__(self, cluster: Cluster, max_gap_us: int) -> None:
        """Write to an open store."""
        self._cluster, self._max_gap_us = cluster, max_gap_us
        self.reader: EnergyReader = cluster.store
        self._partition_of: dict[int, int] = {}
        self._taken: dict[int, ReadingStore] = {}
        self._ship = -1

    def prepare(self, ships: Sequence[int]) -> None:
        """See `Target`: RabbitMQ knows."""
        from power_cli.copying.routing import partitions_of  # noqa: PLC0415  # see above
        from shared.store.postgres.store import PARTITIONS  # noqa: PLC0415  # see above

        cluster = self._cluster
        found: I64 = partitions_of(cluster.worker.broker, cluster.worker.mqtt_ca_file, cluster.partitions, ships)
        cluster.store.pinned(PARTITIONS, str(cluster.partitions))
        self._partition_of = dict(zip(ships, found.tolist(), strict=True))

    def record(self, ship: int, readings: Readings) -> None:
        """See `Target`."""
        self._recorder_of(ship).record(readings)

    def delete(self, deletions: Deletions) -> None:
        """See `Target`."""
        for each in deletions.rows():
            self._recorder_of(each[0]).delete(each)

    def put_covariates(self, covariates: Covariates | None) -> None:
        """See `Target`."""
        if covariates is not None:
            self._recorder_of(covariates.ship).put_covariates(covariates)

    def _recorder_of(self, ship: int) -> Recorder:
        if ship != self._ship:
            self._recorder = Recorder(self._partition(self._partition_of[ship]), self._max_gap_us, CACHED_READINGS)
            self._ship = ship
        return self._recorder

    def _partition(self, number: int) -> ReadingStore:
        if number not in self._taken:
            self._taken[number] = self._cluster.store.partition(number)
        return self._taken[number]

    def finish(self) -> None:
        """See `Target`: there is nothing left."""
