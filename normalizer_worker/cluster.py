"""The parts of a cluster's worker, put together: AMQP, partitions, and a store that has them."""

import os
import random
import socket
from collections.abc import Callable
from contextlib import closing
from itertools import cycle

from normalizer_worker.amqp.connection import AmqpConnection
from normalizer_worker.amqp.link import Account, Link
from normalizer_worker.ledger.partition_first_seen import PartitionFirstSeen
from normalizer_worker.ledger.partition_letters import AllLetters, PartitionLetters
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.partitions import Partitions, backlog_of_partition
from normalizer_worker.recorder import Recorder
from normalizer_worker.routes import LetterList
from normalizer_worker.worker import Source, Worker
from shared.domain.errors import InvalidSettings
from shared.runtime.settings import WorkerSettings
from shared.store.choice import open_partitions
from shared.store.postgres.store import PostgresStore

CACHED_READINGS = 1_000_000
"""In the neighbour caches of all partitions together."""


def work(
    settings: WorkerSettings,
    observed: Callable[[LetterList, object], WorkerMetrics],
    stopping: Callable[[], bool],
    ready: Callable[[], None],
) -> None:
    """Serve partitions until `stopping`; `observed` makes the metrics, and shows them, dead letters and store.

    Raises:
        InvalidSettings: broker or store refuses this worker, or they have another number of partitions.

    """
    store = open_partitions(settings)
    metrics = observed(AllLetters(store), store)
    broker, rules, partitions = settings.broker, settings.rules, settings.partitions
    account = Account(broker, settings.mqtt_ca_file, f"{socket.gethostname()}-{os.getpid()}")
    addresses = cycle(random.sample(broker.addresses, len(broker.addresses)))  # so that workers spread over the nodes

    def connect() -> AmqpConnection:
        check_pinned(store, settings)
        return AmqpConnection(Link(account, *next(addresses)), partitions, account.name, metrics.broker.refused)

    def make_worker(number: int) -> Worker:
        partition = store.partition(number)
        return Worker(
            _never,
            Recorder(partition, rules.max_gap_us, CACHED_READINGS // partitions),
            PartitionLetters(partition),
            PartitionFirstSeen(partition),
            metrics,
            rules=rules,
            backlog=backlog_of_partition(rules.max_gap_us),
            letters_wait=False,
            several_gateways=True,
        )

    with closing(store):
        Partitions(connect, make_worker, metrics).run(stopping, ready)


def _never() -> Source:
    raise AssertionError("a partition's worker has no connection of its own")


def check_pinned(store: PostgresStore, settings: WorkerSettings) -> None:
    """Check the settings that the store is bound to."""
    for name, value in (("POWER_MAX_GAP_S", settings.max_gap_s), ("POWER_PARTITIONS", settings.partitions)):
        pinned = store.pinned(name, str(value))
        if pinned != str(value):
            raise InvalidSettings(f"{name} is {value}, but the store was filled with {pinned}")
