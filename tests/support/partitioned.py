"""A store of partitions in memory, with fences as PostgreSQL keeps them; and workers on it, in threads."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from normalizer_worker.amqp.connection import AmqpConnection
from normalizer_worker.amqp.link import Account, Link
from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.ledger.first_seen import Seen
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.partitions import Partitions, backlog_of_partition
from normalizer_worker.recorder import Recorder
from normalizer_worker.worker import Source, Worker
from shared.contract.acceptance import Rules
from shared.domain.errors import Unavailable
from shared.runtime.broker_url import parse
from shared.store.memory import MemoryStore
from tests.support.first_seen import first_in


class PartitionedStore(MemoryStore):
    """All partitions in one; each has an epoch."""

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self.epochs: defaultdict[int, int] = defaultdict(int)
        self.letters: list[DeadLetter] = []
        self.first_seen: dict[bytes, tuple[int, bytes]] = {}
        self.is_away = False
        """Whether no transaction succeeds."""
        self.takes: list[int] = []
        """The partitions that were taken over, in order."""

    def partition(self, number: int) -> "Partition":
        """Take a partition over: it is written only by who has its last epoch."""
        self.takes.append(number)
        self.epochs[number] += 1
        return Partition(self, number, self.epochs[number])

    def check(self) -> None:
        """Raise `Unavailable` while it is away."""
        if self.is_away:
            raise Unavailable("the store is away")


class Partition:
    """What a worker has of one partition: `ReadingStore`, dead letters and first-seen times."""

    def __init__(self, store: PartitionedStore, number: int, epoch: int) -> None:
        """Keep the epoch that counts as long as nobody has raised it."""
        self._store, self._number, self._epoch = store, number, epoch
        self.readings_around, self.stored_slots = store.readings_around, store.stored_slots
        self.stored_readings, self.stored_deletions = store.stored_readings, store.stored_deletions
        self.put_readings, self.put_slots = store.put_readings, store.put_slots
        self.remove_readings, self.put_deletions = store.remove_readings, store.put_deletions
        self.stored_covariates, self.put_covariates = store.stored_covariates, store.put_covariates
        self.pinned, self.tidy = store.pinned, store.tidy

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `ReadingStore`; nothing is written under an old epoch."""
        with self._store.transaction():
            self._store.check()
            if self._store.epochs[self._number] != self._epoch:
                raise Unavailable(f"partition {self._number} has another owner")
            yield

    def keep(self, letters: Sequence[DeadLetter]) -> int:
        """As `DeadLetters`."""
        with self.transaction():
            self._store.letters += letters
        return 0

    def first(self, seen: Sequence[Seen]) -> list[int | None]:
        """As `PartitionFirstSeen`."""
        with self.transaction():
            return first_in(self._store.first_seen, seen)


class ClusterWorker:
    """A worker of a cluster in a thread of this process."""

    def __init__(self, url: str, store: PartitionedStore, partitions: int, name: str = "tests") -> None:
        """Prepare one; `url` is that of `POWER_BROKER_URL`."""
        self.account = Account(parse(url), None, name)
        self.metrics = WorkerMetrics(CollectorRegistry())
        self.store, self._partitions = store, partitions
        self._stop = threading.Event()
        self._ready = threading.Event()
        self.parts = Partitions(self.connect, self._make_worker, self.metrics)
        self._thread = threading.Thread(target=self.parts.run, args=(self._stop.is_set, self._ready.set))

    def connect(self) -> AmqpConnection:
        """Open a connection."""
        link = Link(self.account, *self.account.broker.addresses[0])
        return AmqpConnection(link, self._partitions, self.account.name, self.metrics.broker.refused)

    def _make_worker(self, number: int) -> Worker:
        partition, rules = self.store.partition(number), Rules()
        return Worker(
            self._connect_never,
            Recorder(partition, rules.max_gap_us),
            partition,
            partition,
            self.metrics,
            rules=rules,
            backlog=backlog_of_partition(rules.max_gap_us),
            letters_wait=False,
            several_gateways=True,
        )

    @staticmethod
    def _connect_never() -> Source:
        raise AssertionError("a partition's worker has no connection of its own")

    def start(self) -> None:
        """Start it, and wait until it is connected."""
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        """Stop it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()


class Workers:
    """Workers on one store in memory."""

    def __init__(self, url: str, partitions: int) -> None:
        """Prepare; `url` is that of `POWER_BROKER_URL`."""
        self.store = PartitionedStore()
        self._url, self._partitions = url, partitions
        self._all: list[ClusterWorker] = []

    def start(self, name: str = "one") -> ClusterWorker:
        """Start another one."""
        worker = ClusterWorker(self._url, self.store, self._partitions, name)
        worker.start()
        self._all.append(worker)
        return worker

    def stop(self) -> None:
        """Stop all of them."""
        for worker in self._all:
            worker.stop()
