"""The one worker of a bucket: what it waits for after a request whose outcome is unknown, and how others are kept out.

docs/decisions/010-influxdb.md says what is relied on here. A late request arrives as late as it may.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normalizer_worker.recorder import Recorder
from shared.domain.errors import Unavailable
from shared.domain.readings import Kind, ReadingRanges, Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US
from shared.store.influx.owner import SETTLE_S
from shared.store.influx.server import Account
from shared.store.influx.store import InfluxStore
from tests.support.columns import as_columns
from tests.support.fault_proxy import CUTS, SWALLOWS, HttpFaultProxy
from tests.support.influxdb import InfluxDb
from tests.support.interleaving import KILLS, SHIPS, Outcome, World
from tests.support.reference import Reading
from tests.support.servers import HOST, free_port
from tests.support.strategies import START_US, stating

OUTCOMES = list(Outcome)[1:]


@pytest.fixture
def make_world(influxdb: InfluxDb) -> Callable[[], World]:
    return lambda: World(influxdb)


@pytest.fixture
def world(influxdb: InfluxDb) -> Iterator[World]:
    with World(influxdb) as world:
        yield world


def at(minutes: int, value: float, sent_at_us: int = 0, ship: int = 1) -> Reading:
    return Reading(ship, START_US + minutes * 60_000_000, value, False, sent_at_us)


def correct_twice(world: World, step: int, outcome: Outcome) -> None:
    """Correct a reading and split a stretch while a request fails; then correct the same moments again."""
    world.run([[at(0, 6.0), at(10, 4.0), at(40, 2.0)], [at(0, 1.0, ship=2)]])
    world.requests, world.outcomes = 0, {step: outcome}
    world.run([[at(10, 5.0, 1), at(25, 3.0), at(5, 8.0, ship=2)]])
    world.run([[at(10, 7.0, 2), at(25, 1.0, 2), at(50, 7.0), at(5, 2.0, 2, ship=2)]])
    world.settle()
    world.check()
    world.check_clean()


def correct_at_every_step(make_world: Callable[[], World], outcome: Outcome) -> int:
    """Do so with each request in turn; tell how many there were."""
    for step in count():
        with make_world() as world:
            correct_twice(world, step, outcome)
            if not world.deaths + world.failures:
                return step
    raise AssertionError


@pytest.mark.parametrize("outcome", OUTCOMES, ids=[outcome.value for outcome in OUTCOMES])
def test_no_request_that_fails_or_comes_late_undoes_what_follows(
    make_world: Callable[[], World], outcome: Outcome
) -> None:
    assert correct_at_every_step(make_world, outcome) > 5


@pytest.mark.parametrize("outcome", [Outcome.LATE, Outcome.KILLED_LATE], ids=["given up", "killed"])
def test_a_wait_that_is_too_short_is_found(
    make_world: Callable[[], World], outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault of the tests above."""
    monkeypatch.setattr(World, "sleep", lambda world, seconds: world.pass_time(seconds - 2))
    with pytest.raises(AssertionError):
        correct_at_every_step(make_world, outcome)


readings = st.builds(
    Reading,
    ship=st.sampled_from(SHIPS),
    moment_us=st.sampled_from([START_US + 60_000_000 * at for at in (*range(0, 45, 5), 300, 26 * 60)]),
    value=st.integers(0, 9).map(float),
    kind=st.sampled_from(Kind),
    sent_at_us=st.integers(0, 3),
    duration_us=st.just(0),
    max_gap_us=st.just(0),
    rollover=st.just(0.0),
).map(stating)
loads = st.lists(st.lists(readings, min_size=1, max_size=3), min_size=1, max_size=4)


@settings(max_examples=12, suppress_health_check=[*HealthCheck])
@given(loads, st.dictionaries(st.integers(0, 60), st.sampled_from(OUTCOMES), max_size=3))
def test_whatever_fails_all_is_right_in_the_end(
    make_world: Callable[[], World], batches: list[list[Reading]], outcomes: dict[int, Outcome]
) -> None:
    with make_world() as world:
        world.outcomes = outcomes
        world.run(batches)
        world.settle()
        world.check()
        world.check_clean()


# --- when it waits


def test_a_successor_of_one_that_was_killed_waits_once(world: World) -> None:
    world.record(at(0, 6.0))
    assert world.waited_s == []
    world.kill()
    world.record(at(5, 6.0))
    world.record(at(10, 6.0))
    assert world.waited_s == [SETTLE_S]


def test_a_successor_of_one_that_has_ended_does_not_wait(world: World) -> None:
    world.record(at(0, 6.0))
    world.store.close()
    world.kill()
    world.record(at(5, 6.0))
    assert world.waited_s == []


def test_one_that_ends_with_a_request_under_way_does_not_say_that_it_has_ended(world: World) -> None:
    world.record(at(0, 6.0))
    world.store._server.is_unsettled = True
    world.store.close()
    world.kill()
    world.record(at(5, 6.0))
    assert world.waited_s == [SETTLE_S]


@pytest.mark.parametrize(
    ("fault", "waits"), [(429, False), (404, False), (500, True), (503, True), (CUTS, True), (SWALLOWS, True)]
)
def test_it_waits_after_a_write_that_is_neither_done_nor_refused(
    influxdb: InfluxDb,
    database: str,
    fault: int,
    waits: bool,  # noqa: FBT001  # a case of two
) -> None:
    waited_s: list[float] = []
    with (
        HttpFaultProxy(influxdb.url) as between,
        closing(InfluxStore(replace(influxdb.account(database), url=between.url), sleep=waited_s.append)) as store,
    ):
        recorder = Recorder(store, DEFAULT_MAX_GAP_US)
        recorder.record(as_columns([at(0, 6.0)]))
        between.breaks(fault, "/write")
        with pytest.raises(Exception, match=r"said by the test|does not answer|Not Found"):
            recorder.record(as_columns([at(5, 6.0)]))
        between.heals()
        recorder.record(as_columns([at(5, 6.0)]))
    assert waited_s == [SETTLE_S] * waits


def test_it_does_not_wait_where_nobody_was_there_to_take_a_request() -> None:
    with closing(InfluxStore(Account(f"http://{HOST}:{free_port()}", "power"))) as store:
        store._server._is_known = True
        with pytest.raises(Unavailable):
            store._server.write(["energy,ship=1 kwh=1 0"])
        assert not store._server.is_unsettled


# --- a second worker, at another broker


def test_a_second_worker_is_refused_while_the_first_is_at_work(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.record(at(0, 6.0))
    first = world.worker
    with closing(world.new_store()) as other:

        def meanwhile(seconds: float) -> None:
            world.pass_time(seconds)
            first.tidy()

        monkeypatch.setattr(other._owner, "_sleep", meanwhile)
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"has another worker, .* on .*, which is at work"):
                Recorder(other, DEFAULT_MAX_GAP_US).record(as_columns([at(0, 9.0, 1)]))
    world.record(at(5, 6.0))
    world.check()
    assert world.failures == 0


def test_one_that_stood_still_while_another_took_over_writes_nothing_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the transaction that it was in, nor from what it remembers."""
    world.record(at(0, 6.0), at(10, 1.0))
    halted = world.store
    readings_around = halted.readings_around

    def stands_still(ranges: ReadingRanges) -> Readings:
        found = readings_around(ranges)
        world.store = world.new_store()
        world._worker = None
        world.record(at(10, 5.0, 2), at(30, 1.0))
        return found

    monkeypatch.setattr(halted, "readings_around", stands_still)
    with closing(halted):
        recorder = world.worker
        recorder._cache.clear()
        with pytest.raises(Unavailable, match="has another worker"):
            recorder.record(as_columns([at(10, 3.0, 1), at(20, 7.0)]))
    world.check()


@pytest.mark.parametrize("outcome", KILLS, ids=[outcome.value for outcome in KILLS])
def test_one_that_is_killed_while_it_takes_a_bucket_is_followed(world: World, outcome: Outcome) -> None:
    world.outcomes = {0: outcome, 3: outcome, 6: outcome, 9: outcome}
    world.record(at(0, 6.0))
    world.settle()
    world.check()
