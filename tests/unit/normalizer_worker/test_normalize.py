"""The rule, against the worked cases and against a slow reference in exact fractions."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer_worker.rule.normalize import intervals, latest, normalize
from shared.domain.readings import Kind, Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_US, Slots
from shared.domain.timestamps import moment_us
from tests.support import golden, reference
from tests.support.comparing import assert_same
from tests.support.reference import Reading
from tests.support.strategies import histories, readings

max_gaps_us = st.sampled_from([SLOT_US, 3_600_000_000, DEFAULT_MAX_GAP_US])


def of_case(case: dict[str, Any]) -> Readings:
    """Take a worked case's batches in their order, as sent one after the other."""
    rows = [
        (batch["spaceship_id"], moment_us(each["datetime"]), each["value"], Kind.of_unit(batch["units"]), sent_at_us)
        for sent_at_us, batch in enumerate(case["batches"])
        for each in batch["data"]
    ]
    return Readings.from_rows(rows)


@pytest.mark.parametrize("case", golden.CASES, ids=golden.NAMES)
def test_worked_cases(case: dict[str, Any]) -> None:
    slots = normalize(of_case(case))
    assert slots.start_s.tolist() == [moment_us(each["datetime"]) // 1_000_000 for each in case["slots"]]
    assert slots.kwh.tolist() == pytest.approx([each["value"] for each in case["slots"]], rel=1e-12)
    assert slots.covered_s.tolist() == [each["covered_seconds"] for each in case["slots"]]
    assert slots.provisional.tolist() == [each["provisional"] for each in case["slots"]]


@given(st.lists(readings, max_size=40), max_gaps_us)
def test_any_readings_give_the_slots_of_the_reference(drawn: list[Reading], max_gap_us: int) -> None:
    assert_same(normalize(Readings.from_rows(drawn), max_gap_us), reference.slots(drawn, max_gap_us))


@given(histories())
def test_order_and_repeats_change_not_even_a_bit(batches: list[list[Reading]]) -> None:
    mixed = [each for batch in batches for each in batch]
    once = sorted(set(mixed))
    assert_equal_bits(normalize(Readings.from_rows(mixed)), normalize(Readings.from_rows(once)))


@given(st.lists(readings.map(lambda each: each._replace(kind=Kind.ENERGY_KWH)), max_size=40), max_gaps_us)
def test_energy_is_conserved(drawn: list[Reading], max_gap_us: int) -> None:
    rows = Readings.from_rows(drawn)
    assert normalize(rows, max_gap_us).kwh.sum() == pytest.approx(latest(rows).value.sum(), rel=1e-9, abs=1e-300)


@given(st.lists(readings, max_size=40), max_gaps_us)
def test_cover_is_above_0_and_at_most_900_s(drawn: list[Reading], max_gap_us: int) -> None:
    covered_s = normalize(Readings.from_rows(drawn), max_gap_us).covered_s
    assert (covered_s > 0).all()
    assert (covered_s <= 900).all()


@given(st.lists(readings, min_size=1, max_size=40))
def test_one_interval_per_ship_is_provisional(drawn: list[Reading]) -> None:
    rows = latest(Readings.from_rows(drawn))
    newest = intervals(rows).newest
    assert rows.ship[newest].tolist() == np.unique(rows.ship).tolist()


@given(st.lists(readings, max_size=40))
def test_ships_do_not_touch_each_other(drawn: list[Reading]) -> None:
    together = normalize(Readings.from_rows(drawn))
    apart = [normalize(Readings.from_rows([each for each in drawn if each.ship == ship])) for ship in (1, 2, 3)]
    assert_equal_bits(together, Slots.concat(apart))


def test_no_readings_give_no_slots() -> None:
    assert len(normalize(Readings.from_rows([]))) == 0


def test_the_greatest_moment_taken_fits() -> None:
    last = moment_us("2199-12-31T23:59:59.999999Z")
    slots = normalize(Readings.from_rows([(1, last - DEFAULT_MAX_GAP_US, 24.0, True, 0), (1, last, 24.0, True, 0)]))
    assert slots.kwh.sum() == pytest.approx(48, rel=1e-12)


def assert_equal_bits(one: Slots, other: Slots) -> None:
    """Compare two results to the last bit."""
    for name in ("ship", "start_s", "kwh", "covered_s", "provisional"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
