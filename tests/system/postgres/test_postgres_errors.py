"""What PostgreSQL says when something is wrong, and what becomes of the messages then."""

import json
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.recorder import Recorder
from normalizer_worker.worker import Worker
from shared.domain.errors import InvalidSettings, Refused, Unavailable
from shared.domain.slots import DEFAULT_MAX_GAP_US, Window
from shared.domain.timestamps import iso
from shared.store.postgres.errors import ours
from shared.store.postgres.store import OnePartitionStore, PostgresStore
from tests.support import reference
from tests.support.comparing import assert_same
from tests.support.disks import fill_up, tmpfs
from tests.support.fault_proxy import CUTS, DOWN, SWALLOWS, UP, FaultProxy
from tests.support.owners import Owner, assert_holds, reading
from tests.support.postgres import Postgres
from tests.support.reference import Reading
from tests.support.servers import HOST, started
from tests.support.strategies import START_US
from tests.support.waiting import until
from tests.support.worker_bench import Bench, message

REFUSED, PASSES, WRONG = Refused, Unavailable, InvalidSettings


@pytest.fixture
def url(postgres: Postgres) -> str:
    with closing(PostgresStore(postgres.emptied())) as store:
        store.check_writing()
    return postgres.emptied()


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (psycopg.errors.AdminShutdown, PASSES),
        (psycopg.errors.ConnectionFailure, PASSES),
        (psycopg.errors.CannotConnectNow, PASSES),
        (psycopg.errors.SerializationFailure, PASSES),
        (psycopg.errors.DeadlockDetected, PASSES),
        (psycopg.errors.DiskFull, PASSES),
        (psycopg.errors.TooManyConnections, PASSES),
        (psycopg.errors.QueryCanceled, PASSES),
        (psycopg.errors.LockNotAvailable, PASSES),
        (psycopg.errors.IoError, PASSES),
        (psycopg.errors.ReadOnlySqlTransaction, PASSES),
        (psycopg.errors.IdleInTransactionSessionTimeout, PASSES),
        (psycopg.OperationalError, PASSES),
        (psycopg.InterfaceError, PASSES),
        (psycopg.errors.CheckViolation, REFUSED),
        (psycopg.errors.NumericValueOutOfRange, REFUSED),
        (psycopg.errors.ProgramLimitExceeded, REFUSED),
        (psycopg.DataError, REFUSED),
        (psycopg.errors.InsufficientPrivilege, WRONG),
        (psycopg.errors.UndefinedTable, None),
        (psycopg.errors.SyntaxError, None),
        (psycopg.errors.InternalError_, None),
    ],
)
def test_an_error_passes_or_is_final_or_is_a_bug(error: type[psycopg.Error], means: type[Exception] | None) -> None:
    found = ours(error("said by the test\n over two lines"), "PostgreSQL at x")
    assert type(found) is (means or type(None))
    assert found is None or str(found).endswith(": said by the test over two lines")


# --- connections that are cut, servers that end


def answers_of(url: str, port: int) -> str:
    """Return an address by way of another port."""
    return url.replace(url.partition(f"@{HOST}:")[2].partition("/")[0], str(port))


@pytest.mark.parametrize("way", [UP, DOWN])
@pytest.mark.parametrize("fault", [CUTS, SWALLOWS], ids=["cuts", "swallows"])
def test_whatever_is_cut_or_swallowed_nothing_is_lost_or_counted_twice(
    postgres: Postgres, url: str, fault: int, way: str
) -> None:
    """A commit whose answer is lost is done, and is done again: sums, kept by differences, must not count it twice."""
    with FaultProxy(postgres.port) as wire, closing(PostgresStore(url)) as store:
        owner = Owner(answers_of(url, wire.port))
        readings = []
        for passes in count():
            wire.breaks(fault, way, [passes])
            owner.store.close()
            batch = [reading(20 * passes), reading(20 * passes - 7)]
            hits = wire.hits
            while not owner_records(owner, batch):
                pass
            readings += batch
            if wire.hits == hits:
                break
        wire.breaks(fault, way, [])
        owner.store.close()
        assert passes > 5, "chunks that were to be broken"
        assert_holds(store, readings)


def owner_records(owner: Owner, batch: list[Any]) -> bool:
    try:
        return owner.record(batch)
    except Unavailable:  # while it took the partition over
        return False


def test_a_server_that_is_started_again_is_used_again(url: str, postgres: Postgres) -> None:
    """Queries do not even notice; what is stored has to be taken over again."""
    owner = Owner(url)
    with closing(owner.store) as store:
        assert owner.record([reading(0)])
        assert len(store.slots(1, Window())) == 1
        postgres.restart()
        assert len(store.slots(1, Window())) == 1
        while not owner.record([reading(10)]):
            pass
        assert_holds(store, [reading(0), reading(10)])


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A server for one test alone."""
    with started(Postgres()) as postgres:
        yield postgres


def test_a_server_that_is_killed_loses_nothing_that_was_acknowledged(own: Postgres) -> None:
    url = own.create()
    owner = Owner(url)
    with closing(owner.store) as store:
        for minute in range(0, 60, 10):
            assert owner.record([reading(minute)])
            if minute % 20 == 0:
                own.kill()
                with pytest.raises(Unavailable, match=r"^PostgreSQL at"):
                    store.slots(1, Window())
                assert not owner.record([reading(minute + 5)])
                own.start()
                assert owner.record([reading(minute + 5)])
        assert_holds(store, [reading(minute) for minute in (0, 5, 10, 20, 25, 30, 40, 45, 50)])


def test_while_it_is_halted_nothing_is_acknowledged(own: Postgres) -> None:
    owner = Owner(own.create())
    with closing(owner.store) as store:
        assert owner.record([reading(0)])
        acknowledged: list[bool] = []
        recording = threading.Thread(target=lambda: acknowledged.append(owner.record([reading(10)])))
        own.send_signal(signal.SIGSTOP)
        recording.start()
        recording.join(0.3)
        assert acknowledged == []
        own.send_signal(signal.SIGCONT)
        recording.join(20)
        assert acknowledged == [True]
        assert_holds(store, [reading(0), reading(10)])


# --- what a commit promises


def test_a_commit_without_its_standby_is_not_acknowledged(own: Postgres) -> None:
    """An operator cancels the wait: it is committed here, and PostgreSQL only warns that the standby lacks it."""
    owner = Owner(own.create())
    with closing(owner.store) as store:
        assert owner.record([reading(0)])
        own.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        own.run("SELECT pg_reload_conf()")
        until(lambda: own.run("SHOW synchronous_standby_names") == [("nobody",)], "the setting is read")
        acknowledged: list[bool] = []
        recording = threading.Thread(target=lambda: acknowledged.append(owner.record([reading(10)])))
        recording.start()
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        ((pid,),) = until(lambda: own.run(waiting), "the commit waits for the standby")
        assert acknowledged == []
        own.run("SELECT pg_cancel_backend(%s)", (pid,))
        recording.join(20)
        assert acknowledged == [False]
        assert len(store.readings(1, 0, 2**60, 9)) == 2, "it is there all the same"


# --- rows that are refused, disks that are full


def batch(ship: int, minute: int) -> dict[str, Any]:
    data = [{"datetime": iso(START_US + (minute + 10 * i) * 60_000_000), "value": 6} for i in range(2)]
    return {"spaceship_id": ship, "units": "kW", "data": data}


def test_a_batch_that_the_database_refuses_is_a_dead_letter_and_the_others_are_stored(
    url: str, postgres: Postgres
) -> None:
    postgres.run("ALTER TABLE readings ADD CONSTRAINT unlucky CHECK (ship <> 2)", url=url)
    sent = [(ship, minute) for minute in (0, 20) for ship in (1, 2, 3)]
    bench = Bench(*[message(mid, batch(*each), topic=f"ships/{each[0]}/readings") for mid, each in enumerate(sent)])
    try:
        with closing(OnePartitionStore(url)) as store:
            recorder = Recorder(store, DEFAULT_MAX_GAP_US)
            worker = Worker(bench.connect, recorder, bench, bench, WorkerMetrics(CollectorRegistry()))
            worker.step(bench.connect())
            assert bench.acknowledged == list(range(6))
            assert [json.loads(letter.payload)["spaceship_id"] for letter in bench.letters] == [2, 2]
            assert {letter.reason for letter in bench.letters} == {
                'PostgreSQL refuses it: new row for relation "readings" violates check constraint "unlucky"'
            }
            assert_holds(store, [reading(minute, ship=ship) for ship in (1, 3) for minute in (0, 10, 20, 30)])
    finally:
        postgres.run("ALTER TABLE readings DROP CONSTRAINT unlucky", url=url)


def a_day(day: int) -> list[Reading]:
    return [reading(1440 * day + minute) for minute in range(1440)]


def test_a_full_disk_makes_it_unavailable_and_loses_nothing() -> None:
    folder = Path(tempfile.mkdtemp(prefix="power-disk-"))
    with tmpfs(folder, "size=96m") as disk, started(Postgres(disk, max_wal_size="32MB")) as own:
        owner = Owner(own.create())
        with closing(owner.store) as store:
            assert owner.record([reading(0)])
            ballast, stored, days = fill_up(disk), [reading(0)], count(1)
            while owner_records(owner, batch := a_day(next(days))):
                stored += batch
            assert next(days) < 100, "the disk is full"
            ballast.unlink()
            until(own.revived, "PostgreSQL answers again")
            until(lambda: owner_records(owner, batch), "it is stored after all")
            assert_same(store.slots(1, Window()), reference.slots([*stored, *batch], DEFAULT_MAX_GAP_US))
    folder.rmdir()
