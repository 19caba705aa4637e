"""Roll-ups in InfluxDB: what a crash or an earlier version leaves is never taken for a finished one, and made anew."""

from collections.abc import Iterator, Mapping, Sequence

import pytest

from shared.domain.readings import Kind
from shared.domain.slots import Window
from shared.store.influx import roll_up_writer
from shared.store.influx.roll_ups import FLEET, PINNED_S, SHIPS, read_stale, ships_in
from shared.store.influx.server import Table
from tests.support.influxdb import InfluxDb
from tests.support.interleaving import Killed, World
from tests.support.reference import Reading
from tests.support.strategies import START_US

DAY = 24 * 60


@pytest.fixture
def world(influxdb: InfluxDb) -> Iterator[World]:
    with World(influxdb) as world:
        yield world


def at(minutes: int, value: float = 6.0, ship: int = 1) -> Reading:
    return Reading(ship, START_US + minutes * 60_000_000, value, False, 0)


def test_roll_ups_of_one_transaction_are_remembered_until_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are remembered: two far parts of one ship are put one after the other, on top of what was there."""
    monkeypatch.setattr(roll_up_writer, "REMEMBERED", 0)
    world.record(at(0), at(9 * DAY))
    world.record(at(5), at(9 * DAY + 5))
    world.check()
    world.check_clean()


def test_a_kill_between_the_roll_ups_of_two_parts_leaves_no_wrong_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two ships, two parts, one slot of the fleet: the first part's roll-up must not look finished."""
    make = world.store._roll_ups.make

    def killed_after_the_first(pending: roll_up_writer.Pending) -> None:
        make(pending)
        raise Killed

    monkeypatch.setattr(world.store._roll_ups, "make", killed_after_the_first)
    world.record(at(0), at(DAY, ship=2), at(DAY), at(3 * DAY, ship=2), at(3 * DAY))
    assert world.deaths == 1
    world.check()
    world.check_clean()


def test_a_kill_before_a_ship_reaches_over_its_readings_hides_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter's newest reading lies beside its slots; the batch comes again, and nothing of it is new."""

    def killed(_: object) -> None:
        raise Killed

    monkeypatch.setattr(world.store._roll_ups, "widen", killed)
    world.record(*(at(minutes)._replace(kind=Kind.COUNTER_KWH, value=minutes) for minutes in (0, 10 * 60)))
    assert world.deaths == 1
    world.check()
    world.check_clean()


def test_one_that_starts_makes_roll_ups_that_the_last_one_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("make", "widen"):
        monkeypatch.setattr(world.store._roll_ups, name, lambda _: None)
    world.record(at(0))
    assert read_stale(world.server, FLEET)
    world.check()
    world.kill()
    world.rest()
    world.check_clean()
    world.check()


def test_ships_of_an_earlier_version_are_shown_at_once_and_get_their_roll_ups(world: World) -> None:
    """It kept none of all time: they are made from the days until the worker has made them, and late data counts."""
    world.record(*(at(minutes, ship=ship) for ship in (1, 2) for minutes in (0, 40, 15, 3 * DAY, 3 * DAY + 60)))
    world.influxdb.query(f"DROP MEASUREMENT {SHIPS.name}", world.database)
    world.check()
    world.kill()
    world.record(at(DAY), at(45))
    world.check()
    assert ships_in(world.server, SHIPS.name) == [1, 2]
    world.check_clean()


def test_a_roll_up_of_all_time_counts_only_with_the_mark_that_it_was_made_for(world: World) -> None:
    world.record(at(0), at(30))
    world.server.write([f"ships,ship=1 whole=99i,mark=7i {PINNED_S * 10**9}"])
    world.check()


def test_a_roll_up_that_is_written_while_it_is_read_is_made_from_the_slots(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clean before and clean after, but not with one mark: what was read in between may be half of each."""
    world.record(at(0))
    asked = world.store._server.query

    def torn(statements: Sequence[str], values: Mapping[str, object]) -> Iterator[Table]:
        tables = list(asked(statements, values))
        if len(statements) == 3:
            tables[1]["kwh"] = ("77",)
            tables[2] |= {"mark": ("1",), "clean": ("1",)}
        return iter(tables)

    monkeypatch.setattr(world.store._server, "query", torn)
    assert world.store.fleet(Window()).kwh.tolist() == [1.5]
