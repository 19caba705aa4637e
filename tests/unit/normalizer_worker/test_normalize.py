"""The rule, against the worked cases and against a slow reference in exact fractions."""

from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normalizer_worker.rule.deletions import undeleted
from normalizer_worker.rule.intervals import intervals
from normalizer_worker.rule.normalize import latest, normalize
from shared.domain.deletions import Deletions, joined
from shared.domain.readings import LOOKS_BACK, Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_US, Slots
from shared.domain.timestamps import moment_us
from tests.support import golden, reference
from tests.support.columns import as_columns
from tests.support.comparing import assert_same
from tests.support.reference import NAN, Deletion, Reading
from tests.support.strategies import START_US, deletions, histories, plain_readings, readings

max_gaps_us = st.sampled_from([SLOT_US, 3_600_000_000, DEFAULT_MAX_GAP_US])


@pytest.mark.parametrize("case", golden.CASES, ids=golden.NAMES)
def test_worked_cases(case: dict[str, Any]) -> None:
    left = undeleted(as_columns(golden.readings_of(case)), Deletions.from_rows(golden.deletions_of(case)))
    slots = normalize(left)
    assert slots.start_s.tolist() == [moment_us(each["datetime"]) // 1_000_000 for each in case["slots"]]
    assert slots.kwh.tolist() == pytest.approx([each["value"] for each in case["slots"]], rel=1e-12)
    assert slots.covered_s.tolist() == [each["covered_seconds"] for each in case["slots"]]
    assert slots.provisional.tolist() == [each["provisional"] for each in case["slots"]]
    if "estimated_seconds" in case["slots"][0]:
        assert slots.estimated_s.tolist() == [each["estimated_seconds"] for each in case["slots"]]


@given(st.lists(readings, max_size=40), max_gaps_us)
def test_any_readings_give_the_slots_of_the_reference(drawn: list[Reading], max_gap_us: int) -> None:
    assert_same(normalize(as_columns(drawn), max_gap_us), reference.slots(drawn, max_gap_us))


@given(st.lists(plain_readings, max_size=40), max_gaps_us)
def test_plain_readings_give_the_slots_of_the_reference(drawn: list[Reading], max_gap_us: int) -> None:
    """They are computed in another, faster way."""
    assert_same(normalize(as_columns(drawn), max_gap_us), reference.slots(drawn, max_gap_us))


@given(st.lists(plain_readings, max_size=40), max_gaps_us)
def test_plain_readings_give_the_same_bits_among_others(drawn: list[Reading], max_gap_us: int) -> None:
    unknown = Reading(9, START_US, NAN, Kind.UNKNOWN, 0)
    among_others = normalize(as_columns([*drawn, unknown]), max_gap_us)
    assert_equal_bits(normalize(as_columns(drawn), max_gap_us), among_others)


@given(histories())
def test_order_and_repeats_change_not_even_a_bit(batches: list[list[Reading]]) -> None:
    mixed = [each for batch in batches for each in batch]
    once = sorted(set(mixed))
    assert_equal_bits(normalize(as_columns(mixed)), normalize(as_columns(once)))


@given(st.lists(plain_readings, max_size=40), st.sampled_from([Kind.ENERGY_KWH, Kind.END_KWH]), max_gaps_us)
def test_energy_is_conserved(drawn: list[Reading], kind: Kind, max_gap_us: int) -> None:
    rows = as_columns(each._replace(kind=kind) for each in drawn)
    assert normalize(rows, max_gap_us).kwh.sum() == pytest.approx(latest(rows).value.sum(), rel=1e-9, abs=1e-300)


@given(st.lists(plain_readings, max_size=40), max_gaps_us)
def test_what_a_counter_rises_is_conserved(drawn: list[Reading], max_gap_us: int) -> None:
    """Whatever the longest gap of other readings is: all are within 31 days."""
    rows = as_columns(each._replace(kind=Kind.COUNTER_KWH) for each in drawn)
    counted = latest(rows)
    rises = np.diff(counted.value)[np.diff(counted.ship) == 0]
    wanted = rises[rises > 0].sum()
    assert normalize(rows, max_gap_us).kwh.sum() == pytest.approx(wanted, rel=1e-9, abs=1e-300)


@given(st.lists(readings, max_size=40), max_gaps_us)
def test_cover_is_above_0_and_at_most_900_s(drawn: list[Reading], max_gap_us: int) -> None:
    covered_s = normalize(as_columns(drawn), max_gap_us).covered_s
    assert (covered_s > 0).all()
    assert (covered_s <= 900).all()


@given(st.lists(readings, min_size=1, max_size=40))
def test_only_the_newest_reading_of_a_ship_is_provisional(drawn: list[Reading]) -> None:
    spoken = intervals(latest(as_columns(drawn)))
    rows = latest(as_columns(drawn))
    newest = {ship: int(rows.moment_us[rows.ship == ship].max()) for ship in set(rows.ship.tolist())}
    looks_back = {ship: bool(LOOKS_BACK[rows.kind[rows.ship == ship][-1]]) for ship in newest}
    for at in np.flatnonzero(spoken.provisional).tolist():
        ship, start_us = int(spoken.ship[at]), int(spoken.start_us[at])
        edge_us = start_us + int(spoken.length_us[at]) if looks_back[ship] else start_us
        assert edge_us == newest[ship]


@given(st.lists(plain_readings, min_size=1, max_size=40))
def test_one_interval_per_ship_is_provisional(drawn: list[Reading]) -> None:
    rows = latest(as_columns(drawn))
    spoken = intervals(rows)
    assert spoken.ship[spoken.provisional].tolist() == np.unique(rows.ship).tolist()


@given(st.lists(readings, max_size=40), st.lists(deletions, max_size=5), st.randoms())
def test_deletions_in_any_order_give_the_slots_of_the_reference(
    drawn: list[Reading], deleted: list[Deletion], rng: Random
) -> None:
    """One after the other, each joined with those before it."""
    shuffled = rng.sample(deleted, len(deleted))
    known = Deletions.from_rows([])
    for each in shuffled:
        known = joined(known, Deletions.from_rows([each]))
    expected = reference.slots(drawn, DEFAULT_MAX_GAP_US, deleted)
    assert_same(normalize(undeleted(as_columns(drawn), known)), expected)
    assert_same(normalize(undeleted(latest(as_columns(drawn)), known)), expected)
    assert list(known.rows()) == list(joined(Deletions.from_rows(deleted), known[:0]).rows())


@given(st.lists(readings, max_size=40))
def test_ships_do_not_touch_each_other(drawn: list[Reading]) -> None:
    together = normalize(as_columns(drawn))
    apart = [normalize(as_columns([each for each in drawn if each.ship == ship])) for ship in (1, 2, 3)]
    assert_equal_bits(together, Slots.concat(apart))


@given(st.lists(readings, max_size=40), st.integers(1, 5))
def test_in_parts_not_even_a_bit_is_different(drawn: list[Reading], part: int) -> None:
    together = normalize(as_columns(drawn))
    with patch("normalizer_worker.rule.normalize.PART", part):
        assert_equal_bits(normalize(as_columns(drawn)), together)


def test_no_readings_give_no_slots() -> None:
    assert len(normalize(as_columns([]))) == 0


def test_the_greatest_moment_taken_fits() -> None:
    last = moment_us("2199-12-31T23:59:59.999999Z")
    slots = normalize(as_columns([(1, last - DEFAULT_MAX_GAP_US, 24.0, True, 0), (1, last, 24.0, True, 0)]))
    assert slots.kwh.sum() == pytest.approx(48, rel=1e-12)


def assert_equal_bits(one: Slots, other: Slots) -> None:
    """Compare two results to the last bit."""
    for name in ("ship", "start_s", "kwh", "covered_s", "provisional", "estimated_s"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
