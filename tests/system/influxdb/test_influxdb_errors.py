"""What InfluxDB, or what stands before it, answers when something is wrong, and what becomes of the messages then."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.recorder import Recorder
from normalizer_worker.worker import Worker
from power_cli.up import ROOT
from shared.contract.batch import Batch, columns
from shared.domain.errors import InvalidSettings, Refused, Unavailable
from shared.domain.slots import DEFAULT_MAX_GAP_US, Slots, Window
from shared.domain.timestamps import iso
from shared.store.influx.server import Account, Server
from shared.store.influx.store import InfluxStore
from tests.support import reference
from tests.support.columns import as_columns
from tests.support.comparing import assert_same
from tests.support.decoding import decode
from tests.support.fault_proxy import CUTS, HANGS, SWALLOWS, HttpFaultProxy
from tests.support.influxdb import InfluxDb
from tests.support.influxdb2 import new_influxdb
from tests.support.reference import Reading
from tests.support.servers import HOST, free_port, started
from tests.support.store_contract import assert_roll_ups
from tests.support.strategies import START_US
from tests.support.waiting import until
from tests.support.worker_bench import Bench, message

TIMEOUT_S = 10
SETTLE_S = 0.1
SHORT_S = 0.3
"""Only for what is never answered: a busy machine needs longer for the rest."""
DAY_US = 86_400_000_000


def open_store(account: Account) -> InfluxStore:
    return InfluxStore(account, timeout_s=TIMEOUT_S, settle_s=SETTLE_S)


def be_patient(store: InfluxStore, timeout_s: float) -> None:
    store._server._client.api_client.configuration.timeout = round(timeout_s * 1000)


@pytest.fixture
def between(influxdb: InfluxDb) -> Iterator[HttpFaultProxy]:
    with HttpFaultProxy(influxdb.url) as between:
        yield between


@pytest.fixture
def store(between: HttpFaultProxy, influxdb: InfluxDb, database: str) -> Iterator[InfluxStore]:
    with closing(open_store(replace(influxdb.account(database), url=between.url))) as store:
        yield store
        between.heals()


def rows(*minutes: int, value: float = 6.0) -> list[Reading]:
    return [Reading(1, START_US + minute * 60_000_000, value, False, 1) for minute in minutes]


def worker_of(bench: Bench, store: InfluxStore) -> Worker:
    return Worker(bench.connect, Recorder(store, DEFAULT_MAX_GAP_US), bench, bench, WorkerMetrics(CollectorRegistry()))


def assert_holds(store: InfluxStore, readings: list[Reading]) -> None:
    expected = reference.slots(readings, DEFAULT_MAX_GAP_US)
    assert_same(Slots.concat([store.slots(ship, Window()) for ship in {each.ship for each in readings}]), expected)
    assert_roll_ups(store, expected)


# --- errors that pass


@pytest.mark.parametrize("passes", [0, 2])
@pytest.mark.parametrize("at", ["/ping", "/query", "/write"])
@pytest.mark.parametrize("fault", [429, 503, HANGS, CUTS, SWALLOWS])
def test_what_passes_is_unavailable_and_put_right_by_the_next_try(
    between: HttpFaultProxy, store: InfluxStore, fault: int, at: str, passes: int
) -> None:
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    recorder.record(as_columns(rows(0, 10)))
    between.breaks(fault, at, passes)
    be_patient(store, SHORT_S if fault == HANGS else TIMEOUT_S)
    more = rows(5, 40)
    try:
        recorder.record(as_columns(more))
    except Unavailable as error:
        assert f"InfluxDB at {between.url}" in str(error)  # noqa: PT017  # there may be none
        assert fault in (HANGS, CUTS, SWALLOWS) or f"answers {fault}: said by the test" in str(error)  # noqa: PT017  # the same
    else:
        assert at == "/ping" or passes, "a request that failed was overlooked"
    between.heals()
    be_patient(store, TIMEOUT_S)
    recorder.record(as_columns(more))
    assert_holds(store, rows(0, 5, 10, 40))


def test_whichever_answer_is_swallowed_nothing_is_counted_twice(between: HttpFaultProxy, influxdb: InfluxDb) -> None:
    """The request was done, and is done again: sums, which are kept by differences, must not take it for more."""
    for passes in count():
        database = influxdb.create(f"swallowed{passes}")
        with closing(open_store(replace(influxdb.account(database), url=between.url))) as store:
            recorder = Recorder(store, DEFAULT_MAX_GAP_US)
            recorder.record(as_columns(rows(0, 10)))
            more = as_columns([*rows(5, 40), *(each._replace(sent_at_us=2) for each in rows(10, value=1.0))])
            between.breaks(SWALLOWS, passes=passes)
            with suppress(Unavailable):
                recorder.record(more)
            is_swallowed = between.passes <= 0
            between.heals()
            recorder.record(more)
            recorder.record(as_columns(rows(0, 10)))
            assert_holds(store, [*rows(0, 5, 40), *rows(10, value=1.0)])
        influxdb.drop(database)
        if not is_swallowed:
            break
    assert passes > 5, "answers that were to be swallowed"


@pytest.mark.parametrize("fault", [429, 500, 503, HANGS, CUTS])
def test_no_question_is_answered_from_an_error(between: HttpFaultProxy, store: InfluxStore, fault: int) -> None:
    Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns(rows(0, 10)))
    between.breaks(fault)
    be_patient(store, SHORT_S)
    asked: list[Callable[[], Any]] = [
        lambda: store.slots(1, Window()),
        lambda: store.fleet(Window()),
        lambda: store.top_ships(Window(), 3),
        store.extent,
    ]
    for ask in asked:
        with pytest.raises(Unavailable):
            ask()


def test_nobody_there_is_unavailable() -> None:
    with closing(open_store(Account(f"http://{HOST}:{free_port()}", "power"))) as store, pytest.raises(Unavailable):
        store.check()


# --- errors that do not pass


@pytest.mark.parametrize("at", ["/ping", "/query", "/write"])
@pytest.mark.parametrize("status", [401, 403])
def test_whom_it_does_not_let_in_stops_loudly(
    between: HttpFaultProxy, store: InfluxStore, status: int, at: str
) -> None:
    between.breaks(status, at)
    with pytest.raises(InvalidSettings, match=r"^INFLUXDB_TOKEN: .* does not let us in: said by the test$"):
        Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns(rows(0)))


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxDb]:
    """An InfluxDB that asks for a password."""
    with started(new_influxdb(tmp_path_factory.mktemp("asking"), auth=True)) as influxdb:
        influxdb.create("power")
        influxdb.add_user("changing", "before it", "power", may_write=True)
        influxdb.add_user("writer", "passw:ord", "power", may_write=True)
        influxdb.add_user("stranger", "a stranger", may_write=True)
        yield influxdb


@pytest.mark.parametrize("token", ["", "writer:passw:ord"], ids=["administrator", "user of the database"])
def test_the_right_password_works(asking: InfluxDb, token: str) -> None:
    with closing(open_store(Account(asking.url, "power", token or asking.admin))) as store:
        store.check()
        Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns(rows(0, 10)))
        assert_holds(store, rows(0, 10))


def test_an_administrator_has_the_database_made(asking: InfluxDb) -> None:
    if asking.version > 1:
        pytest.skip("a bucket comes with its set-up")
    with closing(open_store(Account(asking.url, "made", asking.admin))) as store:
        Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns(rows(0)))
        assert_holds(store, rows(0))


@pytest.mark.parametrize("token", ["", "writer:wrong", "nobody:passw:ord", "a-token", "stranger:a stranger"])
def test_a_wrong_password_is_a_wrong_setting(asking: InfluxDb, token: str) -> None:
    with (
        closing(open_store(Account(asking.url, "power", token))) as store,
        pytest.raises(InvalidSettings, match="INFLUXDB_TOKEN"),
    ):
        store.check()


def test_a_database_that_is_not_there_and_cannot_be_made_is_a_wrong_setting(asking: InfluxDb) -> None:
    with closing(open_store(Account(asking.url, "owe", "writer:passw:ord"))) as store, pytest.raises(InvalidSettings):
        store.check()


def ran(module: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a service that is expected to end by itself."""
    settings = {
        "POWER_STORE": "influxdb",
        "POWER_DATA_DIR": str(folder),
        "POWER_WORKER_HTTP_PORT": "0",
        "POWER_HTTP_PORT": str(free_port()),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-P", "-m", module]
    environ = {**os.environ, **settings, **environ}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


SERVICES = ["normalizer_worker", "query_api"]


@pytest.mark.parametrize("module", SERVICES)
def test_a_service_with_a_wrong_password_ends_with_one_line(asking: InfluxDb, tmp_path: Path, module: str) -> None:
    ended = ran(module, tmp_path, INFLUXDB_URL=asking.url, INFLUXDB_TOKEN="writer:wrong")  # noqa: S106  # it is none
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert "INFLUXDB_TOKEN" in ended.stderr
    assert "wrong" not in ended.stderr


def test_a_worker_whose_password_is_changed_stops_and_acknowledges_nothing(
    asking: InfluxDb,
) -> None:
    """Nothing is lost: started with the right password, it gets the message again."""
    with closing(open_store(Account(asking.url, "power", "changing:before it"))) as store:
        bench = Bench(message(1))
        worker = worker_of(bench, store)
        worker.step(bench.connect())
        assert bench.acknowledged == [1]
        asking.set_password("changing", "after it")
        later = Bench(message(2))
        worker = worker_of(later, store)
        with pytest.raises(InvalidSettings, match="INFLUXDB_TOKEN"):
            worker.run(lambda: False, lambda: None)
        assert not later.acknowledged
        assert not later.letters
        assert later.happened == ["connect", "close"]
        asking.set_password("changing", "before it")
        worker.run(lambda: bool(later.acknowledged), lambda: None)


# --- versions


@pytest.mark.parametrize("version", ["1.5.4", "v1.5.12", "3.0.1", "0.9", "nightly", "", None])
@pytest.mark.parametrize("module", SERVICES)
def test_a_version_that_is_not_supported_is_one_clear_line(tmp_path: Path, module: str, version: str | None) -> None:
    with HttpFaultProxy() as between:
        between.version = version
        ended = ran(module, tmp_path, INFLUXDB_URL=between.url)
    assert ended.returncode == 2
    what = f"InfluxDB {version}" if version else "no InfluxDB that tells its version"
    assert ended.stderr == f"INFLUXDB_URL: {between.url} is {what}; 1.6 to 1.x and 2.x are supported\n"


@pytest.mark.parametrize("version", ["1.6.0", "1.6.7~rc0", "1.11.8-c1.11.8", "v2.0.9", "v2.7.12", "2.9.1"])
def test_the_version_is_asked_once(between: HttpFaultProxy, store: InfluxStore, version: str) -> None:
    """And then whether the database is there, or on 2.x the bucket."""
    between.pretends = version
    store.check()
    assert between.asked == ["/ping", "/query"]
    for _ in range(2):
        Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns(rows(0)))
    assert between.asked.count("/ping") == 1


# --- messages that can never be stored


def batch(moment_us: int, value: float = 6.0, ship: int = 1) -> Any:
    return {"units": "kW", "sent_at": iso(START_US), "data": [{"datetime": iso(moment_us), "value": value}]} | {
        "spaceship_id": ship
    }


def decoded(bench: Bench, *mids: int) -> list[Reading]:
    batches: list[Batch] = [decode(bench.sent[mid].payload, topic_ship=1) for mid in mids]
    found = columns(batches)
    return [Reading(*row) for row in found.rows()]


def test_what_lies_beyond_the_databases_retention_is_a_dead_letter_and_the_rest_is_stored(
    influxdb: InfluxDb, database: str
) -> None:
    influxdb.keep_days(database, 30)
    now_us = time.time_ns() // 1000
    mixed = batch(now_us - 30 * 60_000_000)
    mixed["data"] += batch(START_US)["data"]
    sent = [batch(now_us - minute * 60_000_000) for minute in (55, 50)]
    sent += [batch(START_US), batch(now_us - 40 * 60_000_000), mixed, batch(now_us - 10 * 60_000_000)]
    bench = Bench(*[message(mid, each) for mid, each in enumerate(sent)])
    with closing(open_store(influxdb.account(database))) as store:
        worker = worker_of(bench, store)
        worker.step(bench.connect())
        assert bench.acknowledged == [0, 1, 2, 3, 4, 5]
        assert [json.loads(letter.payload) for letter in bench.letters] == [batch(START_US), mixed]
        for letter in bench.letters:
            assert re.match(r"InfluxDB refuses it: .*partial write: .* retention policy .*dropped=1", letter.reason)
        stored = decoded(bench, 0, 1, 3, 5) + decoded(bench, 4)[:1]
        assert_holds(store, [each for each in stored if each.moment_us != START_US])


def test_what_is_of_another_type_than_is_stored_is_a_dead_letter(influxdb: InfluxDb, database: str) -> None:
    """BrokerClient else has written to the measurement; a type holds for a week, which is a shard."""
    influxdb.write(database, [f'readings,ship=9 value="a word" {START_US // 10**6 + 365 * 86_400}'])
    sent = [batch(START_US), batch(START_US + 365 * DAY_US), batch(START_US + 60_000_000)]
    bench = Bench(*[message(mid, each) for mid, each in enumerate(sent)])
    with closing(open_store(influxdb.account(database))) as store:
        worker = worker_of(bench, store)
        worker.step(bench.connect())
        assert bench.acknowledged == [0, 1, 2]
        (letter,) = bench.letters
        assert json.loads(letter.payload) == sent[1]
        assert "field type conflict" in letter.reason
        assert_holds(store, decoded(bench, 0, 2))


@pytest.mark.parametrize("status", [400, 422])
def test_a_refusal_is_told_as_such(between: HttpFaultProxy, store: InfluxStore, status: int) -> None:
    store.pinned("a", "1")
    between.breaks(status, "/write", passes=1)
    with pytest.raises(Refused, match=r"^InfluxDB refuses it: said by the test$"):
        Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns(rows(0)))


# --- answers that are not whole


LIMITS = {1: "INFLUXDB_COORDINATOR_MAX_SELECT_SERIES", 2: "INFLUXD_INFLUXQL_MAX_SELECT_SERIES"}
"""By the version of InfluxDB."""


@pytest.mark.parametrize(
    ("limits", "ask"),
    [
        (LIMITS, lambda store: store.top_ships(Window(0, 9000), 3)),
        ({1: "INFLUXDB_HTTP_MAX_ROW_LIMIT"}, lambda store: store.slots(1, Window())),
    ],
)
def test_an_answer_that_is_cut_short_is_not_taken_for_a_whole_one(
    tmp_path: Path, limits: dict[int, str], ask: Callable[[InfluxStore], object]
) -> None:
    """InfluxDB tells of an error in the middle of an answer, but not in CSV."""
    influxdb = new_influxdb(tmp_path, environ=dict.fromkeys(limits.values(), "1"))
    if influxdb.version not in limits:
        pytest.skip("this InfluxDB has no such limit")
    influxdb.start()
    with closing(InfluxStore(influxdb.account("power"))) as store:
        store.pinned("a", "1")
        energy = [f"energy,ship={ship} kwh=1,covered_s=900,provisional=false {900 * ship}" for ship in range(9)]
        influxdb.write("power", [*energy, "energy,ship=1 kwh=1,covered_s=900,provisional=false 0"])
        with pytest.raises(Unavailable, match="did not answer all of a query"):
            ask(store)
    influxdb.stop()


def test_a_database_that_is_gone_is_not_taken_for_an_empty_one(influxdb: InfluxDb, database: str) -> None:
    with closing(open_store(influxdb.account(database))) as store:
        Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns(rows(0)))
        influxdb.drop(database)
        with pytest.raises(Unavailable, match="did not answer all of a query"):
            store.slots(1, Window())


def test_a_bucket_that_is_not_there_is_unavailable_and_named(influxdb: InfluxDb, database: str) -> None:
    with closing(Server(influxdb.account(database))) as server:
        server.check()
        influxdb.drop(database)
        with pytest.raises(Unavailable, match=rf"^INFLUXDB_BUCKET: .* has no bucket '{database}'"):
            server.write(["energy,ship=1 kwh=1 0"])


# --- InfluxDB halted, killed and started again


@pytest.mark.parametrize("how", ["halted", "killed"])
def test_while_it_is_away_nothing_is_acknowledged_and_all_is_right_when_it_is_back(tmp_path: Path, how: str) -> None:
    influxdb = new_influxdb(tmp_path)
    influxdb.start()
    sent = [batch(START_US + 60_000_000 * minute, float(minute)) for minute in (0, 40, 20, 10, 50)]
    bench = Bench(*[message(mid, each) for mid, each in enumerate(sent)])
    store = open_store(influxdb.account("power"))
    try:
        worker = worker_of(bench, store)
        bench.sent = bench.sent[:2]
        worker.step(bench.connect())
        assert bench.acknowledged == [0, 1]
        bench.sent = tuple(message(mid, each) for mid, each in enumerate(sent))
        be_patient(store, SHORT_S)
        if how == "halted":
            influxdb.send_signal(signal.SIGSTOP)
        else:
            influxdb.kill()
        for _ in range(2):
            with pytest.raises(Unavailable):
                worker.step(bench.connect())
        assert bench.acknowledged == [0, 1]
        if how == "halted":
            influxdb.send_signal(signal.SIGCONT)
        else:
            influxdb.start()
        be_patient(store, TIMEOUT_S)
        until(influxdb.answers, "it is back")
        worker.run(lambda: len(bench.acknowledged) == len(sent), lambda: None)
        assert_holds(store, decoded(bench, *range(len(sent))))
    finally:
        store.close()
        influxdb.stop()


def test_a_sum_that_has_grown_too_old_is_left(influxdb: InfluxDb, database: str) -> None:
    """A worker died before it made the sum; its successor comes when the database does not take it any more."""
    influxdb.write(database, [f"fleet mark=1i,clean=0i {START_US // 10**6}"])
    with closing(InfluxStore(influxdb.account(database))) as store:
        with store.transaction():
            influxdb.keep_days(database, 30)
        while store.tidy():
            pass


def test_a_day_that_begins_before_what_is_kept_has_slots_all_the_same(influxdb: InfluxDb, database: str) -> None:
    influxdb.keep_days(database, 30)
    now_us = time.time_ns() // 1000
    # Of the day 30 days ago, what is left until its end; just after midnight that may be too little.
    moment_us = now_us - 30 * DAY_US + 600_000_000
    with closing(InfluxStore(influxdb.account(database))) as store:
        Recorder(store, DEFAULT_MAX_GAP_US).record(as_columns([(1, moment_us, 6.0, False, 0)]))
        assert len(store.slots(1, Window()))


def test_no_retention_policy_takes_away_what_is_pinned(influxdb: InfluxDb, database: str) -> None:
    with closing(InfluxStore(influxdb.account(database))) as store:
        assert store.pinned("POWER_MAX_GAP_S", "86400") == "86400"
    influxdb.keep_days(database, 30)
    (found,) = influxdb.query("SELECT value FROM pinned WHERE setting = 'POWER_MAX_GAP_S'", database)
    assert found.columns["time"][0] > time.time() + 100 * 365 * 86_400
    with closing(InfluxStore(influxdb.account(database))) as store:
        assert store.pinned("POWER_MAX_GAP_S", "3600") == "86400"


def test_questions_during_writes_are_answered(influxdb: InfluxDb, database: str) -> None:
    """InfluxDB shows the fields of one point one by one: a point that is half there is no error, and not there yet."""
    every_us = 900_000_000
    writing = threading.Event()
    with (
        closing(InfluxStore(influxdb.account(database))) as store,
        closing(InfluxStore(influxdb.account(database))) as reader,
    ):
        recorder = Recorder(store, DEFAULT_MAX_GAP_US)
        recorder.record(as_columns([(1, START_US, 6.0, False, 0)]))

        def write() -> None:
            for start in range(0, 3000, 100):
                moments = [START_US + every_us * at for at in range(start, start + 100)]
                recorder.record(as_columns([(ship, at, 4.0, False, 1) for ship in range(1, 30) for at in moments]))
            writing.set()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            while not writing.is_set():
                assert set(reader.slots(1, Window()).kwh.tolist()) <= {1.0, 1.5}
                fleet = reader.fleet(Window())
                assert ((fleet.kwh <= fleet.ships * 1.5) & (fleet.kwh >= fleet.ships)).all()
                reader.top_ships(Window(), 3)
        finally:
            thread.join()
        assert writing.is_set()
