"""The comparison of `./power bench --only truth`: its scenarios, its judgement, and the ways that need no server."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks.databases import Database
from benchmarks.rounds import Options
from benchmarks.truth import comparing, nature
from benchmarks.truth.comparing import Figure, cells, judged
from benchmarks.truth.contenders import Answer, in_pandas, service
from benchmarks.truth.load import Load, Piece, sloped, stepped
from benchmarks.truth.scenarios import Scenario, Sent, scenarios
from shared.domain.errors import Unavailable
from shared.domain.readings import Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US
from shared.store.memory import MemoryStore
from tests.support import reference
from tests.support.reference import Reading

SCENARIOS = scenarios()
NAMES = [each.name for each in SCENARIOS]
HOUR_S = 3600
OUTAGE, LONG_OUTAGE, LOST, COUNTER, CHANGES = (
    next(each for each in SCENARIOS if name in each.name)
    for name in ("outage of 3 h", "outage of 30 h", "lost", "counter", "send-on-change")
)


def flat(kw: int, hours: int = 1, **rest: object) -> Scenario:
    load = Load([Piece(0, hours * HOUR_S, Fraction(kw), Fraction(kw))])
    sent = [Sent(0, kw, Kind.POWER_KW, 0), Sent(hours * HOUR_S, kw, Kind.POWER_KW, 0)]
    return Scenario("flat", load, sent, **rest)  # type: ignore[arg-type]


def exactly(scenario: Scenario) -> Answer:
    """Give what the slow reference makes of readings whose sender states everything."""
    sent = [
        Reading(1, each.moment_s * 10**6, each.value, each.kind, each.sent_s * 10**6, each.span_s * 10**6)
        for each in scenario.sent
    ]
    found = reference.slots(sent, DEFAULT_MAX_GAP_US)
    return Answer(
        {start_s: float(slot.kwh) for (_, start_s), slot in found.items()},
        {start_s for (_, start_s), slot in found.items() if slot.estimated_us},
    )


def test_energy_of_a_load_is_the_area_under_it() -> None:
    load = Load([Piece(0, 600, Fraction(6), Fraction(6)), Piece(600, 1200, Fraction(6), Fraction(18))])
    assert load.kwh(0, 600) == 1
    assert load.kwh(600, 1200) == 2
    assert load.kwh(900, 1200) == Fraction(15 * 300, 3600)
    assert load.kw(600) == 6
    assert load.kw(900) == 12


@pytest.mark.parametrize("make", [stepped, sloped])
def test_parts_of_a_load_add_up_to_it(make: Callable[[list[int], Random], Load]) -> None:
    load = make([0, 7, 500, 1800, 3600], Random(1))
    cuts = [0, 3, 7, 8, 499, 900, 1800, 3599, 3600]
    assert sum(load.kwh(start, end) for start, end in pairwise(cuts)) == load.kwh(0, 3600)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_readings_of_a_scenario_determine_its_truth(scenario: Scenario) -> None:
    assert len(scenario.truth()) > 100
    assert judged(scenario, exactly(scenario)).is_exact


def test_scenarios_are_the_same_each_time() -> None:
    assert [each.sent for each in scenarios()] == [each.sent for each in SCENARIOS]


def test_disordered_scenarios_are_disordered() -> None:
    by_name = {each.name.split(",")[0].split(":")[0]: each for each in SCENARIOS}
    late, repeated, corrected = (by_name[name].sent for name in ("late", "repeated", "corrected"))
    assert any(one.moment_s > other.moment_s for one, other in pairwise(late))
    assert len(repeated) - len(set(repeated)) > 100
    last = {each.moment_s: each for each in corrected}
    newest = {each.moment_s: each for each in sorted(corrected, key=lambda each: each.sent_s)}
    assert sum(last[moment_s] != newest[moment_s] for moment_s in last) > 10, "a wrong one comes after its correction"


def test_energy_in_the_wrong_slot_counts_where_it_is_and_where_it_lacks() -> None:
    right = Answer({0: 1.0, 900: 1.0, 1800: 1.0, 2700: 1.0})
    assert judged(flat(4), right) == Figure(0)
    assert judged(flat(4), Answer({0: 2.0, 1800: 1.0, 2700: 1.0})) == Figure(0.5)
    half_known = judged(flat(4, unknown=((1350, 2700),)), Answer({0: 1.0, 2700: 1.0}))
    assert half_known == pytest.approx((0.2, 0, 0))


def test_energy_for_the_time_without_readings_is_made_up_unless_marked() -> None:
    scenario = flat(4, unknown=((1200, 2700),))
    known = {0: 1.0, 2700: 1.0}
    assert judged(scenario, Answer({**known, 900: 1 / 3})).about_silence() == "nothing"
    found = judged(scenario, Answer({**known, 900: 1.0, 1800: 1.0}, {1800}))
    assert found == pytest.approx((0, 1, 0.6))
    assert judged(scenario, Answer({**known, 900: 1.0, 1800: 1.0})).about_silence() == "100 %"
    assert [line[1] for line in cells(scenario, [found])] == ["exact", "100 %, 60 % of it marked"]


def test_outages_are_bridged_and_marked_or_left_empty() -> None:
    short, long = (judged(each, exactly(each)) for each in (OUTAGE, LONG_OUTAGE))
    assert short.made_up > 0.5
    assert short.marked > 0.99
    assert long.made_up == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=NAMES)
def test_an_expert_with_pandas_is_exact_but_for_the_minute_before_an_outage(scenario: Scenario) -> None:
    found = judged(scenario, in_pandas.expert(scenario))
    assert found.misplaced < 1e-3 if scenario is LONG_OUTAGE else found.is_exact


def test_simple_ways_of_pandas_are_exact_for_clean_minutes_only() -> None:
    clean, *_ = SCENARIOS
    assert judged(clean, in_pandas.mean(clean)).is_exact
    assert judged(clean, in_pandas.forward_fill(clean)).is_exact
    assert judged(CHANGES, in_pandas.mean(CHANGES)).misplaced > 0.5
    assert judged(LOST, in_pandas.mean(LOST)).misplaced > 1


@pytest.mark.parametrize("scenario", [LOST, COUNTER, CHANGES, SCENARIOS[-1], SCENARIOS[-2]], ids=lambda each: each.name)
def test_this_service_is_exact_where_the_kind_is_stated(scenario: Scenario) -> None:
    store = MemoryStore()
    assert judged(scenario, service.slots(store, scenario, stated=True)).is_exact
    alone = judged(scenario, service.slots(store, scenario, stated=False))
    assert alone.is_exact == (scenario is CHANGES)


def test_a_missing_program_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise Unavailable("it is missing")

    monkeypatch.setattr(comparing, "CONTENDERS", ("in_pandas", "gone"))
    monkeypatch.setattr(in_pandas, "methods", missing)
    monkeypatch.setattr(comparing, "scenarios", lambda: [flat(4)])
    options = Options(Path(), quick=True, database=Database.__new__(Database))
    ((scenario, figures),) = comparing.compared(options)
    assert figures == dict.fromkeys((*in_pandas.NAMES, "gone"), "not installed")
    assert list(cells(scenario, list(figures.values()))) == [["flat", *["not installed"] * 4]]


def test_what_is_not_offered_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert comparing._figure(flat(4), lambda _: None) == "not offered"
    monkeypatch.setattr(nature, "HOUSEHOLD", Path("/not/here"))
    _, source = nature.household()
    assert "generated" in source


def test_a_generated_household_shows_what_suits_which_sender() -> None:
    kw = nature.stand_in()
    np.testing.assert_array_equal(kw, nature.stand_in())
    assert kw.min() > 0
    *steps, on_change = nature.senders(kw)
    assert all(each.mean is not None and each.mean < each.line for each in steps)
    assert all(each.line < each.held for each in steps[1:])
    assert on_change.held < on_change.line / 2


def test_a_constant_household_misplaces_nothing() -> None:
    for _, *shares in nature.senders(np.full(24 * 60, 2.0)):
        assert [share or 0 for share in shares] == pytest.approx([0] * len(shares), abs=1e-9)
