"""Workers on one InfluxDB, step by step: what each must notice of another, or of one that was killed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from normalizer_worker import recorder
from normalizer_worker.recorder import Recorder
from normalizer_worker.revisits import AFTER_S
from normalizer_worker.rule.normalize import DEFAULT_MAX_GAP_US
from shared.domain.errors import Refused, Unavailable
from shared.domain.readings import Readings
from shared.domain.slots import Window
from shared.store.influx import requests, roll_up_writer
from shared.store.influx.presence import HELD_S, LEARNT_S, SETTLED_S, SHOWN_S, WATCHED_S
from shared.store.influx.roll_ups import FLEET, PINNED_S, SHIPS, read_stale, ships_in
from shared.store.influx.server import Account, Table
from shared.store.influx.store import InfluxStore
from shared.store.port import Neighbourhood, Span
from tests.support.influxdb import InfluxDb
from tests.support.interleaving import Killed, Life
from tests.support.reference import Reading
from tests.support.strategies import START_US
from tests.system.influxdb.test_influxdb_interleavings import World

MINUTE_US = 60_000_000


@pytest.fixture
def world(influxdb: InfluxDb, tmp_path: Path) -> Iterator[World]:
    with World(influxdb, tmp_path) as world:
        yield world


def reading(at: int, value: float = 6.0, sent: int = 0, ship: int = 1) -> Reading:
    """Give a reading so many minutes after the start."""
    return Reading(ship, START_US + at * MINUTE_US, value, False, sent)


def record(world: World, life: Life, *rows: Reading) -> None:
    world.extend(life, [rows])
    life.run()


def calls_first(before: Callable[..., bool], then: Callable[[], None], at: int) -> Callable[..., bool]:
    """Have something done right after the n-th answer of a method."""
    left = at

    def asked() -> bool:
        nonlocal left
        answer = before()
        left -= 1
        if left == 0:
            then()
        return answer

    return asked


@pytest.mark.parametrize("between", ["left", "is long gone", "was killed"])
def test_who_remembers_the_store_notices_another_that_came_and_went(world: World, between: str) -> None:
    """What it remembers of the ship lacks the other's reading."""
    one, other = world.life([]), world.life([])
    record(world, one, reading(0))
    if between == "is long gone":
        world.pass_time()
    record(world, other, reading(20))
    if between == "left":
        other.leave()
    if between == "is long gone":
        world.pass_time()
    record(world, one, reading(40))
    world.check()


def test_whoever_comes_between_a_last_look_and_the_sums_is_in_the_sums(world: World) -> None:
    one, other = world.life([]), world.life([])
    record(world, one, reading(0))
    presence = one.worker.store._presence
    presence.alone = calls_first(  # type: ignore[method-assign]
        presence.alone, lambda: record(world, other, reading(1, 7.0, ship=2)), at=1
    )
    record(world, one, reading(5))
    assert other.deaths == 0
    assert len(world.stored()) == 3
    world.check()
    world.settle()
    world.check()
    world.check_clean()


def test_sums_that_are_made_in_one_transaction_are_remembered_until_its_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are remembered: two far parts of one ship are put one after the other, on top of what was there."""
    monkeypatch.setattr(roll_up_writer, "REMEMBERED", 0)
    one = world.life([])
    record(world, one, reading(0), reading(60 * 24 * 9))
    record(world, one, reading(5), reading(60 * 24 * 9 + 5))
    world.check()
    world.check_clean()


def test_a_kill_between_the_sums_of_two_parts_leaves_no_wrong_sum(world: World) -> None:
    """Two ships, two parts, one slot of the fleet: the first part's sum must not look finished."""
    one = world.life([])
    roll_ups = one.worker.store._roll_ups
    make, made = roll_ups.make, []

    def killed_after_the_first(pending: roll_up_writer.Pending) -> None:
        make(pending)
        made.append(pending)
        raise Killed

    roll_ups.make = killed_after_the_first  # type: ignore[method-assign]
    day = 24 * 60
    world.extend(one, [[reading(0), reading(day, ship=2), reading(day), reading(3 * day, ship=2), reading(3 * day)]])
    one.run()
    assert (len(made), one.deaths) == (1, 1)
    world.check()
    world.settle()
    world.check()
    world.check_clean()


def test_who_starts_anew_puts_the_sums_right_though_nothing_comes(world: World) -> None:
    """The one before it died with marks set, and its batch was stored by then."""
    one = world.life([])
    one.worker.store._roll_ups.make = lambda pending: None  # type: ignore[method-assign]  # noqa: ARG005
    record(world, one, reading(0))
    assert read_stale(world.server, FLEET)
    one.worker.drop()
    one._worker = None
    world.pass_time()
    one.rest()
    world.check_clean()
    world.check()


def test_ships_of_an_earlier_version_are_told_of_at_once_and_get_their_sums(world: World) -> None:
    """It kept no sums of all time: they are made from the days until the worker has made them, and late data counts."""
    one = world.life([])
    day = 24 * 60
    record(world, one, *(reading(at, ship=ship) for ship in (1, 2) for at in (0, 40, 15, 3 * day, 3 * day + 60)))
    one.leave()
    world.influxdb.query(f"DROP MEASUREMENT {SHIPS.name}", world.database)
    world.pass_time()
    world.check()
    other = world.life([])
    record(world, other, reading(day), reading(45))
    world.check()
    other.rest()
    assert ships_in(world.server, SHIPS) == [1, 2]
    world.check_clean()
    world.check()


def test_a_sum_of_all_time_counts_only_with_the_mark_that_it_was_made_for(world: World) -> None:
    one = world.life([])
    record(world, one, reading(0), reading(30))
    world.server.write([f"ships,ship=1 whole=99i,mark=7i {PINNED_S * 10**9}"])
    world.check()


def test_what_is_put_right_again_is_looked_at_once_more(world: World) -> None:
    """A revisit may meet another worker just as the first visit did."""
    one, other = world.life([]), world.life([])
    other.worker.store._server.set_up()
    other.worker.store._presence.show()
    record(world, one, reading(0, 9.0, sent=2))  # not alone: to be recorded again
    old = f'readings,ship=1 value=5.0,unit="kW",sent_at=1i {START_US * 1000}'
    world.server.write([old])  # what another has undone
    world.rows.append(reading(0, 5.0, sent=1))
    world.pass_time(AFTER_S + 1)
    other.worker.store._presence.show()
    one.rest()
    assert world.stored()[1, START_US][0] == 9.0
    world.server.write([old])  # and undoes again, since it had read before that
    world.settle()
    world.check()
    world.check_clean()


def test_of_what_is_put_right_again_only_its_ship_is_looked_at_once_more(world: World) -> None:
    """At full load something is always under way: with all that it was stored with, nothing would ever be done with."""
    one, other = world.life([]), world.life([])
    other.worker.store._server.set_up()
    other.worker.store._presence.show()
    record(world, one, reading(0), reading(0, ship=2), reading(0, ship=3))
    world.server.write([f'readings,ship=2 value=5.0,unit="kW",sent_at=1i {START_US * 1000}'])
    world.pass_time(AFTER_S + 1)
    other.worker.store._presence.show()
    one.rest()
    assert one.worker.revisits.waiting() == 1
    world.pass_time(AFTER_S + 1)
    due = one.worker.revisits.due()
    assert due is not None
    assert due[1].ship.tolist() == [2]


def test_what_one_turn_has_put_one_turn_takes_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load of many transactions is kept as so many parts, and the worker tidies once after each load."""
    monkeypatch.setattr(recorder, "MAX_SLOTS", 200)
    one, other = world.life([]), world.life([])
    other.worker.store._server.set_up()
    other.worker.store._presence.show()
    record(world, one, *(reading(24 * 60 * day, ship=ship) for day in range(4) for ship in (1, 2)))
    assert one.worker.revisits.waiting() > 2
    world.pass_time(AFTER_S + 1)
    other.worker.store._presence.show()
    one.worker.recorder.tidy()
    assert one.worker.revisits.waiting() == 0
    world.check()


def test_who_has_a_request_under_way_does_not_say_that_it_is_gone(world: World) -> None:
    """Its successor would think itself alone, and the request arrive after what that one reads."""
    one = world.life([])
    record(world, one, reading(0))
    one.worker.store._presence.unsure()
    one.leave()
    other = world.life([])
    with other.worker.store.transaction():
        assert not other.worker.store.alone()


def test_who_has_left_is_not_waited_for(world: World) -> None:
    one, other = world.life([]), world.life([])
    record(world, one, reading(0))
    one.leave()
    with other.worker.store.transaction():
        assert other.worker.store.alone()


def test_who_was_halted_in_a_transaction_writes_nothing_of_it(world: World) -> None:
    """Others have thought it gone: what it has read is out of date."""
    one = world.life([])
    store = one.worker.store
    neighbourhoods = store.neighbourhoods

    def halted(spans: Sequence[Span]) -> list[Neighbourhood]:
        found = neighbourhoods(spans)
        world.clock.s += HELD_S + 1
        return found

    store.neighbourhoods = halted  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="stood still for 31 s"):
        one.worker.recorder.record(Readings.from_rows([reading(0)]))
    assert world.stored() == {}


def before_write(life: Life, measurement: bytes, then: Callable[[], None]) -> None:
    """Have something happen once while a worker's next points of a measurement are under way."""
    server = life.worker.store._server
    write, waiting = server._write, [then]

    def late(body: bytes) -> None:
        if body.startswith(measurement) and waiting:
            waiting.pop()()
        write(body)

    server._write = late  # type: ignore[method-assign]


def test_a_correction_outlives_an_older_value_that_was_prepared_before_it(world: World) -> None:
    """Prepared from what was seen 40 s before, and under way for 25 s."""
    one, other = world.life([]), world.life([])
    record(world, one, reading(0), reading(10, 1.0))
    record(world, other, reading(10, 5.0, sent=2))
    world.pass_time(WATCHED_S - 1)

    def meanwhile() -> None:
        world.pass_time(25)
        other.rest()

    before_write(one, b"readings", meanwhile)
    record(world, one, reading(10, 3.0, sent=1))
    assert world.stored()[1, START_US + 10 * MINUTE_US][0] == 3.0
    world.settle()
    world.check()
    world.check_clean()


def test_no_sum_is_made_anew_of_slots_that_another_is_about_to_write(world: World) -> None:
    """It would have the mark that the other has set for them, and count though it lacks them."""
    dead, one, other = world.life([]), world.life([]), world.life([])
    dead.worker.store._roll_ups.make = lambda pending: None  # type: ignore[method-assign]  # noqa: ARG005
    world.extend(dead, [[reading(0), reading(30)]])
    dead.worker.recorder.record(Readings.from_rows(world.rows))
    world.pass_time()
    world.rows.append(reading(48 * 60, ship=2))
    one.worker.recorder.record(Readings.from_rows(world.rows[-1:]))  # it finds what is left to be made, and is alone
    before_write(other, b"energy", one.rest)
    record(world, other, reading(5, 1.0))
    world.check()


def test_who_was_halted_before_its_sign_remembers_nothing(world: World) -> None:
    """Another was alone meanwhile, and will not come back to what it has put."""
    one, other = world.life([]), world.life([])
    record(world, one, reading(0), reading(10, 1.0))
    world.pass_time(WATCHED_S - 1)
    show, halted = one.worker.store._presence._say, [True]

    def late(*, here: bool) -> None:
        if halted:
            halted.pop()
            world.pass_time(SHOWN_S - WATCHED_S + 5)
            record(world, other, reading(10, 5.0, sent=2))
        show(here=here)

    one.worker.store._presence._say = late  # type: ignore[method-assign]
    record(world, one, reading(10, 3.0, sent=1))
    world.settle()
    world.check()
    world.check_clean()


def test_who_was_halted_while_it_showed_itself_writes_nothing(world: World) -> None:
    """Its sign was seen, and is over: another has thought itself alone."""
    one, other = world.life([]), world.life([])
    record(world, one, reading(0), reading(10, 1.0))
    store = one.worker.store
    neighbourhoods, show, halts = store.neighbourhoods, store._presence._say, [2]

    def slow(spans: Sequence[Span]) -> list[Neighbourhood]:
        found = neighbourhoods(spans)
        world.pass_time(SHOWN_S / 4 + 1)  # so that the next request needs a sign
        return found

    def halted(*, here: bool) -> None:
        show(here=here)
        halts[0] -= 1
        if halts[0] == 0:
            world.pass_time(SHOWN_S + 1)
            record(world, other, reading(10, 5.0, sent=2))

    world.pass_time(WATCHED_S - 1)
    store.neighbourhoods, store._presence._say = slow, halted  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="stood still"):
        one.worker.recorder.record(Readings.from_rows([reading(10, 3.0, sent=1)]))
    assert halts == [0]
    record(world, one, reading(10, 3.0, sent=1))
    world.settle()
    world.check()
    world.check_clean()


@pytest.mark.parametrize("too_old", [(b"readings",), (b"readings", b"energy")], ids=["readings", "and their slots"])
def test_readings_of_a_batch_that_is_refused_are_visited_again(world: World, too_old: tuple[bytes, ...]) -> None:
    """What was stored of it may be undone by another as anything else."""
    one, other = world.life([]), world.life([])
    other.worker.store._server.set_up()
    other.worker.store._presence.show()
    batch = Readings.from_rows([reading(10)])
    write = one.worker.store._server._write

    def refuses(body: bytes) -> None:
        write(body)
        if body.startswith(too_old):
            raise Refused("a part of it is too old")

    one.worker.store._server._write = refuses  # type: ignore[method-assign]
    with pytest.raises(Refused):
        one.worker.recorder.record(batch)
    assert one.worker.revisits.waiting() == 1


def test_who_is_slow_stays_in_sight(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks, slots and sums are many: between their requests, too, others are shown that somebody is at work."""
    monkeypatch.setattr(requests, "LINES", 1)
    one = world.life([])
    server = one.worker.store._server
    write = server._write

    def slow(body: bytes) -> None:
        write(body)
        if not body.startswith(b"workers"):
            world.clock.s += 6

    server._write = slow  # type: ignore[method-assign]
    record(world, one, reading(0), reading(75))
    assert one.failures == 0
    world.settle()
    world.check()
    world.check_clean()


def test_who_never_looks_round_writes_nothing(world: World) -> None:
    """Others come back to what they stored only once, when whatever rests on an earlier look has arrived."""
    one = world.life([])
    store = one.worker.store
    neighbourhoods = store.neighbourhoods

    def slow(spans: Sequence[Span]) -> list[Neighbourhood]:
        for _ in range(int(LEARNT_S // HELD_S)):
            world.clock.s += HELD_S
            neighbourhoods(spans)
        found = neighbourhoods(spans)
        world.clock.s += HELD_S
        return found

    store.neighbourhoods = slow  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="rests on what is 270 s old"):
        one.worker.recorder.record(Readings.from_rows([reading(0)]))
    assert world.stored() == {}


def test_a_part_that_is_refused_keeps_no_other_from_being_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "LINES", 1)
    held = requests.Held(world.server, lambda: None)
    good = [f"energy,ship=1 kwh=1.0 {at}" for at in range(4)]
    held.write(good[:1])
    with pytest.raises(Refused):
        held.write(["energy,ship=1 kwh=true 0", *good])
    (series,) = world.influxdb.query("SELECT kwh FROM energy", world.database)
    assert len(series.columns["kwh"]) == 4


def test_times_leave_room_for_each_other() -> None:
    """A sign is seen for as long as what is written on its strength may take; looks overlap."""
    assert HELD_S + 30 <= SHOWN_S
    assert WATCHED_S < SHOWN_S
    assert WATCHED_S < LEARNT_S
    assert LEARNT_S + HELD_S <= SETTLED_S <= AFTER_S


def test_a_sum_that_is_made_anew_while_it_is_read_is_summed_from_the_slots(
    influxdb: InfluxDb, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clean before and clean after, but not with one mark: what was read in between may be of two minds."""
    with closing(InfluxStore(Account(influxdb.url, database))) as store:
        Recorder(store, DEFAULT_MAX_GAP_US).record(Readings.from_rows([reading(0)]))
        asked = store._server.query

        def torn(statements: Sequence[str], values: Mapping[str, object]) -> Iterator[Table]:
            tables = list(asked(statements, values))
            if len(statements) == 3:
                tables[1]["kwh"] = ("77",)
                tables[2] |= {"mark": ("1",), "clean": ("1",)}
            return iter(tables)

        monkeypatch.setattr(store._server, "query", torn)
        assert store.fleet(Window()).kwh.tolist() == [1.5]
