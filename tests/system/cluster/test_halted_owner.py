"""A worker halted for so long that another one has its partition, and then woken: it writes nothing any more."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from shared.domain.timestamps import iso
from shared.store.postgres.store import PostgresStore
from tests.support.cluster import PARTITIONS, Cluster
from tests.support.owners import assert_holds, reading
from tests.support.postgres import Postgres
from tests.support.processes import PowerProcess
from tests.support.reference import Reading
from tests.support.waiting import until

FENCED = "has another owner"
FIRST, MORE, LAST = [reading(0), reading(10)], [reading(5)], [reading(20)]
WAITS = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
TAKEN = "SELECT coalesce(max(epoch), 0) > 1 FROM fences"
TAKEN_TOO_EARLY = f"""
SELECT ({TAKEN}) AND count(*) > 0 FROM pg_stat_activity
WHERE state = 'idle in transaction' AND datname = current_database()
"""  # noqa: S608  # put together from constants


@pytest.fixture
def url(postgres: Postgres) -> str:
    """An empty database."""
    return postgres.create()


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    """Reads what the workers have stored."""
    with closing(PostgresStore(url)) as store:
        store.check_writing()
        yield store


@pytest.fixture
def start(cluster: Cluster, url: str, tmp_path: Path) -> Iterator[Callable[[str], PowerProcess]]:
    """Starts workers: one that halts itself at a point, or one that does not."""
    environ = {
        "POWER_BROKER_URL": cluster.url("amqp"),
        "POWER_STORE_URL": url,
        "POWER_PARTITIONS": str(PARTITIONS),
        "POWER_WORKER_HTTP_PORT": "0",
    }
    started: list[PowerProcess] = []

    def start(halts: str = "") -> PowerProcess:
        module = "tests.support.halting" if halts else "normalizer_worker"
        started.append(PowerProcess(module, {**environ, "HALTS": halts}, tmp_path / f"{len(started)}.log"))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()


def publish(cluster: Cluster, batch: list[Reading]) -> None:
    data = [{"datetime": iso(each.moment_us), "value": each.value} for each in batch]
    sent = {"units": "kW", "sent_at": iso(batch[0].moment_us), "data": data}
    cluster.publish(batch[0].ship, json.dumps(sent).encode())


def await_halt(worker: PowerProcess) -> None:
    stat = Path(f"/proc/{worker.pid}/stat")
    until(lambda: stat.read_text("ascii").rpartition(") ")[2].startswith("T"), "the worker halts")


def await_stored(store: PostgresStore, readings: list[Reading]) -> None:
    until(lambda: len(store.readings(1, 0, 2**60, 99)) == len(readings), f"{len(readings)} readings are stored")


def answer(store: PostgresStore, query: str) -> bool:
    return bool(store.read(query)[0][0])


def test_owner_halted_before_its_transaction_writes_nothing(
    cluster: Cluster, store: PostgresStore, start: Callable[[str], PowerProcess]
) -> None:
    halted = start("before")
    publish(cluster, FIRST)
    await_halt(halted)
    cluster.end_connection(f"-{halted.pid}")
    start("")
    await_stored(store, FIRST)
    publish(cluster, MORE)
    await_stored(store, FIRST + MORE)
    halted.send_signal(signal.SIGCONT)
    until(lambda: "next try in" in halted.said(), "the halted worker begins anew")
    assert_holds(store, FIRST + MORE)
    assert FENCED in halted.said()
    publish(cluster, LAST)
    await_stored(store, FIRST + MORE + LAST)
    assert_holds(store, FIRST + MORE + LAST)


def test_partition_is_taken_over_only_after_a_transaction_under_way(
    cluster: Cluster, store: PostgresStore, start: Callable[[str], PowerProcess]
) -> None:
    """Whoever took it earlier would not read what the other commits a moment later."""
    halted = start("inside")
    publish(cluster, FIRST)
    await_halt(halted)
    cluster.end_connection(f"-{halted.pid}")
    start("")
    # The server itself ends a transaction that stands still for long: then nobody waits for it.
    until(lambda: answer(store, WAITS) or answer(store, TAKEN), "the next owner waits, or is the owner")
    assert not answer(store, TAKEN_TOO_EARLY)
    halted.send_signal(signal.SIGCONT)
    publish(cluster, LAST)
    await_stored(store, FIRST + LAST)
    assert_holds(store, FIRST + LAST)
