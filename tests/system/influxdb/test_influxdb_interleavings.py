"""Workers on one InfluxDB, their requests interleaved at will, killed and started again: all is right in the end.

InfluxDB has no transactions (docs/decisions/010-influxdb.md), so this is where the rule's promise is won or lost. One
request at a time is let through to a real server; Hypothesis chooses whose.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, count, repeat
from pathlib import Path
from typing import Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from normalizer_worker.revisits import AFTER_S
from normalizer_worker.rule.normalize import DEFAULT_MAX_GAP_US
from shared.domain.slots import Slots, Window
from shared.store.influx.presence import SHOWN_S
from shared.store.influx.roll_ups import KINDS, read_stale
from shared.store.influx.server import Account, Server
from shared.store.influx.store import InfluxStore
from tests.support import reference
from tests.support.comparing import assert_same
from tests.support.influxdb import InfluxDb
from tests.support.interleaving import KILLS, Clock, Life, Outcome, Stage, SteppedWorker, Turn, pass_time
from tests.support.reference import Reading
from tests.support.store_contract import assert_roll_ups
from tests.support.store_ships import assert_ships
from tests.support.strategies import START_US

SHIPS = (1, 2)
ROUNDS = 3
"""How many times of quiet it takes at most until everything is right and nobody has anything left to do."""

_databases = count()
MOMENTS_US = [START_US + 60_000_000 * minutes for minutes in (*range(0, 45, 5), 300, 26 * 60)]
"""Some close together, one in another stretch, and one beyond the longest gap."""
readings = st.builds(
    Reading,
    ship=st.sampled_from(SHIPS),
    moment_us=st.sampled_from(MOMENTS_US),
    value=st.integers(0, 9).map(float),
    is_energy=st.booleans(),
    sent_at_us=st.integers(0, 3),
)
loads = st.lists(st.lists(readings, min_size=1, max_size=3), min_size=1, max_size=3)


@dataclass(frozen=True)
class Scenario:
    """What happens to some workers.

    Attributes:
        before: what the first of them records while it is alone.
        quiet: whether a minute passes then.
        at_once: what each of them records while others do.
        joins: whether what is delivered again comes together with what comes next.
        ends: whether all but the first are told to end when they have recorded all.
        outcomes: what becomes of some of the steps.
        passing_s: how much time passes before some of them.

    """

    before: list[list[Reading]]
    quiet: bool
    at_once: list[list[list[Reading]]]
    joins: bool
    ends: bool
    outcomes: dict[int, Outcome]
    passing_s: dict[int, float]


scenarios = st.builds(
    Scenario,
    before=st.just([]) | loads,
    quiet=st.booleans(),
    at_once=st.lists(loads, min_size=2, max_size=3),
    joins=st.booleans(),
    ends=st.booleans(),
    outcomes=st.dictionaries(st.integers(0, 60), st.sampled_from(list(Outcome)[1:]), max_size=3),
    passing_s=st.dictionaries(st.integers(0, 60), st.sampled_from([16.0, 29.0, 41.0, 61.0]), max_size=3),
)


class World:
    """A database, the time, and lives of workers in it."""

    def __init__(self, influxdb: InfluxDb, folder: Path) -> None:
        self.influxdb = influxdb
        self.database = influxdb.create(f"interleaved{next(_databases)}")
        self.account = Account(influxdb.url, self.database)
        self.server = Server(self.account)
        self.server.set_up()
        self.clock, self.stage = Clock(), Stage(self.pass_time)
        self._folder = folder / self.database
        self.lives: list[Life] = []
        self.rows: list[Reading] = []

    def life(self, loads: Sequence[Sequence[Reading]], *, joins: bool = False, ends: bool = False) -> Life:
        folder = self._folder / str(len(self.lives))

        def make() -> SteppedWorker:
            return SteppedWorker(self.account, folder, self.clock, self.stage.step, DEFAULT_MAX_GAP_US)

        life = Life(make, loads, joins=joins, ends=ends)
        self.rows += [row for load in loads for row in load]
        self.lives.append(life)
        return life

    def extend(self, life: Life, loads: Sequence[Sequence[Reading]]) -> None:
        """Have more recorded."""
        self.rows += [row for load in loads for row in load]
        life.extend(loads)

    def pass_time(self, seconds: float = SHOWN_S + 1) -> None:
        pass_time(self.influxdb, self.database, self.clock, seconds)

    def settle(self) -> None:
        """Let all workers rest for a while."""
        for _ in range(ROUNDS):
            self.pass_time(AFTER_S + 1)
            for life in self.lives:
                life.rest()

    def check(self) -> None:
        """Compare everything with the reference; and nothing is left to be done."""
        expected = reference.slots(self.rows, DEFAULT_MAX_GAP_US)
        assert self.stored() == reference_readings(self.rows)
        with closing(InfluxStore(self.account)) as store:
            assert_same(Slots.concat([store.slots(ship, Window()) for ship in SHIPS]), expected)
            assert_roll_ups(store, expected)
            assert_ships(store, self.rows)

    def check_slots(self) -> None:
        """Compare slots and sums with what follows from the readings that are stored, be they right or not."""
        rows = [Reading(*key, value, unit, sent) for key, (value, unit, sent) in self.stored().items()]
        expected = reference.slots(rows, DEFAULT_MAX_GAP_US)
        with closing(InfluxStore(self.account)) as store:
            assert_same(Slots.concat([store.slots(ship, Window()) for ship in SHIPS]), expected)
            assert_roll_ups(store, expected)

    def check_clean(self) -> None:
        assert [key for kind in KINDS for key in read_stale(self.server, kind)] == []

    def stored(self) -> dict[tuple[int, int], tuple[float, bool, int]]:
        found = {}
        for series in self.influxdb.query("SELECT * FROM readings GROUP BY ship", self.database, epoch="u"):
            columns = (series.columns[name] for name in ("time", "value", "unit", "sent_at"))
            for moment_us, value, unit, sent_at_us in zip(*columns, strict=True):
                found[int(series.tags["ship"]), moment_us] = (float(value), unit == "kWh", sent_at_us)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for life in self.lives:
            life.leave()
        self.server.close()
        self.influxdb.drop(self.database)


def reference_readings(rows: Sequence[Reading]) -> dict[tuple[int, int], tuple[float, bool, int]]:
    """Give what counts of each ship's moments."""
    ranked = sorted(rows, key=lambda row: (row.sent_at_us, row.is_energy, row.value))
    return {(row.ship, row.moment_us): (row.value, row.is_energy, row.sent_at_us) for row in ranked}


@pytest.fixture
def make_world(influxdb: InfluxDb, tmp_path: Path) -> Callable[[], World]:
    return lambda: World(influxdb, tmp_path)


@settings(max_examples=50, suppress_health_check=[*HealthCheck])
@given(scenarios, st.data())
def test_whatever_comes_between_all_is_right_in_the_end(
    make_world: Callable[[], World], scenario: Scenario, data: st.DataObject
) -> None:
    at, steps = 0, count()

    def choose(among: int) -> Turn:
        """Go on with the same one mostly: few changes at odd places find more than many everywhere."""
        nonlocal at
        drawn = data.draw(st.integers(0, 29))
        at = drawn % among if drawn > 20 else min(at, among - 1)
        step = next(steps)
        return Turn(at, scenario.outcomes.get(step, Outcome.DONE), scenario.passing_s.get(step, 0.0))

    with make_world() as world:
        first = world.life(scenario.before, joins=scenario.joins)
        first.run()
        if scenario.quiet:
            world.pass_time()
        world.extend(first, scenario.at_once[0])
        others = [world.life(each, joins=scenario.joins, ends=scenario.ends) for each in scenario.at_once[1:]]
        world.stage.run([each.run for each in (first, *others)], choose)
        if not any(each.deaths or each.failures for each in world.lives):
            world.check_slots()
        world.settle()
        world.check()
        world.check_clean()


def at(minutes: int, value: float, sent_at_us: int = 0, ship: int = 1) -> Reading:
    return Reading(ship, START_US + minutes * 60_000_000, value, False, sent_at_us)


@pytest.mark.parametrize("is_alone", [True, False], ids=["alone", "while another is seen"])
@pytest.mark.parametrize("outcome", KILLS, ids=[outcome.value for outcome in KILLS])
def test_a_worker_killed_at_any_step_leaves_nothing_that_its_successor_does_not_put_right(
    make_world: Callable[[], World],
    outcome: Outcome,
    is_alone: bool,  # noqa: FBT001  # a case of two
) -> None:
    """The batch corrects a reading, splits a stretch, and comes again: as it was, or together with the next one."""
    batch = [at(10, 5.0, 1), at(25, 3.0), at(5, 8.0, ship=2)]
    kills = 0
    for step in count():
        with make_world() as world:
            life = world.life([[at(0, 6.0), at(10, 4.0), at(40, 2.0)], [at(0, 1.0, ship=2)]], joins=step % 2 == 0)
            life.run()
            if not is_alone:
                world.life([]).worker.store._presence.show()
            world.extend(life, [batch, [at(50, 7.0)]])
            outcomes = chain([Outcome.DONE] * step, [outcome], repeat(Outcome.DONE))
            world.stage.run([life.run], lambda _, outcomes=outcomes: Turn(0, next(outcomes)))  # type: ignore[misc]  # a default
            kills += life.deaths
            if outcome is not Outcome.KILLED_AND_DONE_LATER:
                world.check()
            world.settle()
            world.check()
            world.check_clean()
            if not life.deaths:
                break
    assert kills > 5, "requests that were to fail"


def test_what_was_put_is_looked_at_again_even_where_others_have_come_between(make_world: Callable[[], World]) -> None:
    """A reading speaks for slots an hour away; at any step of its worker another one parts it from them."""
    for step in count():
        with make_world() as world:
            world.life([[at(60, 1.0), at(120, 6.0)]]).run()
            slow, quick = world.life([[at(0, 2.0)]]), world.life([[at(20, 3.0), at(35, 4.0), at(50, 5.0)]])
            turns = chain(repeat(0, step), repeat(1))
            waiting: list[int] = []

            def choose(among: int, turns: Iterator[int] = turns, waiting: list[int] = waiting) -> Turn:
                waiting.append(among)
                return Turn(min(next(turns), among - 1))

            world.stage.run([slow.run, quick.run], choose)
            world.check_slots()
            world.settle()
            world.check()
            world.check_clean()
            if waiting[step] == 1:
                break
    assert step > 5, "requests of the slow one"
