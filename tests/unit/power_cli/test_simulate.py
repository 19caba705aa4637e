"""The simulated fleet: reproducible, plausible, and late and repeated now and then."""

from argparse import ArgumentParser
from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from power_cli import simulate
from power_cli.simulate import CADENCES_MIN, DAY_S, UNITS, Delivery, Ship, deliveries
from shared.domain.errors import InvalidInput
from shared.domain.readings import MAX_SHIP
from shared.domain.timestamps import LAST_US, US_PER_S, moment_us
from tests.support.decoding import decode

SEED = 7
END_US = moment_us("2024-03-01T10:20:30.5Z")
START_US = END_US - 3 * DAY_S * US_PER_S
FLEET = [Ship.of(SEED, number) for number in range(1, 41)]
SENT = list(deliveries(FLEET, START_US, END_US, SEED))


def _told(sent: list[Delivery]) -> dict[tuple[int, int], float]:
    """Give every reading's value under its ship and moment."""
    return {(each.ship, us): value for each in sent for us, value in zip(each.moment_us, each.value, strict=True)}


def test_the_same_seed_gives_the_same_bodies_and_another_one_does_not() -> None:
    again = deliveries([Ship.of(SEED, ship.number) for ship in FLEET], START_US, END_US, SEED)
    assert [each.body() for each in again] == [each.body() for each in SENT]
    other = deliveries([Ship.of(SEED + 1, ship.number) for ship in FLEET], START_US, END_US, SEED + 1)
    assert _told(list(other)) != _told(SENT)


def test_windows_that_overlap_agree() -> None:
    later = _told(list(deliveries(FLEET, START_US + 12_345_678_901, END_US + DAY_S * US_PER_S, SEED)))
    earlier = _told(SENT)
    both = later.keys() & earlier.keys()
    assert len(both) > len(earlier) / 2
    assert all(later[key] == earlier[key] for key in both)


def test_every_batch_is_one_that_the_service_takes() -> None:
    for each in SENT:
        batch = decode(each.body())
        assert (batch.ship, batch.units, batch.batch_id) == (each.ship, each.units, each.batch_id)
        assert batch.moment_us.tolist() == each.moment_us.tolist()
        assert batch.value.tolist() == each.value.tolist()


def test_a_fleet_has_every_cadence_and_both_units() -> None:
    ways = Counter((ship.cadence_s // 60, ship.units) for ship in FLEET)
    assert set(ways) == {(cadence, unit) for cadence in CADENCES_MIN for unit in UNITS}


def test_each_ship_keeps_its_cadence_over_the_whole_window_without_a_hole() -> None:
    told = _told(SENT)
    for ship in FLEET:
        moments = sorted(us for number, us in told if number == ship.number)
        step_us = ship.cadence_s * US_PER_S
        assert all(later - earlier == step_us for earlier, later in pairwise(moments))
        assert START_US <= moments[0] < START_US + step_us
        assert END_US - step_us <= moments[-1] < END_US
        assert ship.count(START_US, END_US) == len(moments)


@given(st.integers(0, LAST_US), st.integers(1, 2 * DAY_S * US_PER_S), st.integers(0, 50))
def test_readings_are_counted_without_being_made(start_us: int, length_us: int, number: int) -> None:
    ship = Ship.of(SEED, number)
    sent = deliveries([ship], start_us, start_us + length_us, SEED)
    assert len(_told(list(sent))) == ship.count(start_us, start_us + length_us)


def test_some_batches_come_late_and_some_twice_and_the_others_in_order() -> None:
    kinds = Counter(each.kind for each in SENT)
    assert 0 < kinds["late"] < kinds["on time"] / 4
    assert 0 < kinds["repeated"] < kinds["on time"] / 4
    watch_us = simulate.WATCH_S * US_PER_S
    on_time = [int(each.moment_us[0]) // watch_us for each in SENT if each.kind == "on time"]
    assert on_time == sorted(on_time)
    seen: dict[str, bytes] = {}
    newest_us = 0
    for each in SENT:
        if each.kind == "repeated":
            assert seen[each.name] == each.body()
        elif each.kind == "late":
            assert each.name not in seen
        if each.kind == "late" and each.moment_us[-1] < END_US - 2 * simulate.HELD_WATCHES * watch_us:
            assert newest_us > each.moment_us[-1]
        seen[each.name] = each.body()
        newest_us = max(newest_us, int(each.moment_us[-1]))


def test_nothing_is_lost_to_lateness() -> None:
    first_time = [each for each in SENT if each.kind != "repeated"]
    assert sum(len(each.value) for each in first_time) == len(_told(SENT))
    assert len({each.batch_id for each in SENT}) == len(first_time)


def test_loads_are_positive_and_follow_the_day() -> None:
    ship = max(FLEET, key=lambda ship: ship.swing)
    kw = np.concatenate([each.value for each in SENT if each.ship == ship.number])
    kw = kw if ship.units == "kW" else kw * (3600 / ship.cadence_s)
    assert kw.min() > 0
    assert kw.max() / kw.min() > (1 + ship.swing) / (1 - ship.swing) * 0.9
    assert ship.base_kw * 0.6 < kw.mean() < ship.base_kw * 1.2


def test_a_century_of_a_large_fleet_starts_at_once() -> None:
    fleet = [Ship.of(SEED, number) for number in range(500)]
    sent = deliveries(fleet, 0, END_US, SEED)
    assert len(list(islice(sent, 700))) == 700


@pytest.mark.parametrize("options", [["--days", "30000"], ["--first-ship", str(MAX_SHIP), "--ships", "2"]])
def test_what_lies_outside_the_contract_is_refused(options: list[str]) -> None:
    parser = ArgumentParser()
    simulate.add_arguments(parser)
    with pytest.raises(InvalidInput, match="choose fewer days or ships"):
        simulate.run(parser.parse_args(options))


@pytest.mark.parametrize(
    "options",
    [["--ships", "0"], ["--days", "-1"], ["--seed", "x"], ["--end", "today"], ["--first-ship", "1.5"], ["--url", "x"]],
)
def test_a_wrong_option_is_named(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    simulate.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(options)
    assert f"error: argument {options[0]}: " in capsys.readouterr().err
