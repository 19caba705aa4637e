"""The sums that the query service keeps of past weeks and days in InfluxDB: they are right whatever is written."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import pytest

from shared.domain.slots import Window
from shared.store.influx import kept_sums
from shared.store.influx.reader import InfluxReader
from shared.store.influx.server import Server, Table
from shared.store.port import ShipEnergy
from tests.support.influxdb import InfluxDb
from tests.support.interleaving import World
from tests.support.reference import Reading
from tests.support.strategies import START_US

DAY = 24 * 60
START_S = START_US // 10**6
WINDOWS = (
    Window(),
    Window(START_S - 30 * 86_400, START_S + 60 * 86_400),
    Window(START_S + 3 * 86_400 + 900, START_S + 17 * 86_400 + 1800),
)


@pytest.fixture
def world(influxdb: InfluxDb, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(kept_sums, "FEW_SHIPS", 1)
    with World(influxdb) as world:
        yield world


@pytest.fixture
def reader(world: World) -> Iterator[InfluxReader]:
    """A query service that has been running for long."""
    with closing(InfluxReader(Server(world.account))) as reader:
        yield reader


@pytest.fixture
def asked(reader: InfluxReader, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that it asks about the sums of ships' days."""
    asked: list[str] = []
    query = reader._server.query

    def noted(statements: Sequence[str], values: Mapping[str, object]) -> Iterator[Table]:
        asked.extend(each for each in statements if "SELECT" in each and "ship_days" in each)
        return query(statements, values)

    monkeypatch.setattr(reader._server, "query", noted)
    return asked


def at(minutes: int, value: float = 6.0, ship: int = 1, sent: int = 0) -> Reading:
    return Reading(ship, START_US + minutes * 60_000_000, value, False, sent)


def tops(reader: InfluxReader) -> list[list[ShipEnergy]]:
    return [reader.top_ships(window, 9) for window in WINDOWS]


def of_a_new_reader(world: World) -> list[list[ShipEnergy]]:
    """Give what one says that has kept nothing."""
    with closing(InfluxReader(Server(world.account))) as reader:
        return tops(reader)


def test_what_is_kept_is_right_after_every_write_whenever_it_was_read(
    world: World, reader: InfluxReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read between any two requests of the worker: new weeks, late readings and corrections, of two ships."""
    step = World._step

    def read_after(self: World, path: str, act: Callable[[], Any]) -> Any:
        found = step(self, path, act)
        tops(reader)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(World, "_step", read_after)
        for rows in (
            [at(0), at(DAY), at(DAY, 3.0, ship=2)],
            [at(12 * DAY, 5.0), at(12 * DAY + 30)],
            [at(DAY + 40, 1.0, ship=2)],
            [at(0, 60.0, sent=1)],
            [at(12 * DAY, 0.5, sent=1), at(0, 7.0, sent=2), at(20 * DAY)],
        ):
            world.record(*rows)
            assert tops(reader) == of_a_new_reader(world)


def test_only_weeks_in_which_a_slot_has_changed_are_read_again(
    world: World, reader: InfluxReader, asked: list[str]
) -> None:
    world.record(*(at(week * 7 * DAY + 60, ship=ship) for week in range(5) for ship in (1, 2)))
    everything = tops(reader)
    asked.clear()
    assert tops(reader) == everything
    whole = reader.top_ships(Window(), 9)
    assert asked == [each for each in asked if "mark != clean" in each], "only the weeks that a window cuts"
    asked.clear()
    world.record(at(7 * DAY + 90, 60.0))
    assert reader.top_ships(Window(), 9) != whole
    assert len([each for each in asked if "sum(kwh)" in each]) == 1
    assert tops(reader) == of_a_new_reader(world)


def test_no_more_sums_are_kept_than_there_is_room_for(
    world: World, reader: InfluxReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that were used last; the others are read again."""
    monkeypatch.setattr(kept_sums, "MOST_ROWS", 3)
    world.record(*(at(week * 7 * DAY + 60, ship=ship) for week in range(5) for ship in (1, 2)))
    for _ in range(2):
        assert tops(reader) == of_a_new_reader(world)
        assert sum(len(each.ship) for each in reader._sums._kept.values()) <= 3
