"""The accuracy of past forecasts: each was made from what came before its day, and is computed once."""

from dataclasses import dataclass

import numpy as np
import pytest

from query_api.forecast import watch
from query_api.forecast.accuracy import Accuracies, Expected, WatchedDay
from query_api.forecast.fit import Fit
from query_api.forecast.forecast import forecast
from query_api.forecast.history import History
from query_api.forecast.models.auto import Auto
from query_api.forecast.models.seasonal_naive import SeasonalNaive
from query_api.forecast.steps import DAY_S
from query_api.forecast.watch import Watch
from shared.domain.columns import F64
from shared.domain.slots import Slots, Window
from tests.support.slots import DAY, MONDAY_S, slots_from, weekly

DAYS = 50
END_S = MONDAY_S + DAYS * DAY_S


@dataclass
class MemoryReader:
    """A store of one ship."""

    kept: Slots

    def slots(self, ship: int, window: Window) -> Slots:  # noqa: ARG002  # there is one
        start_s, end_s = window.bounds_s()
        return self.kept[(self.kept.start_s >= start_s) & (self.kept.start_s < end_s)]


class Counting(SeasonalNaive):
    """Counts its fits."""

    fits = 0

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:
        self.fits += 1
        return super().fit(ship, history, days)


def watched(of: Watch, end_s: int = END_S, ship: int = 7) -> list[WatchedDay]:
    *_, found = of.days(ship, end_s)
    return found


def over(kwh: F64) -> Watch:
    return Watch(MemoryReader(slots_from(kwh)), SeasonalNaive())


def test_each_day_is_forecast_as_it_would_have_been_then() -> None:
    kwh = weekly(DAYS)
    found = watched(Watch(MemoryReader(slots_from(kwh)), Auto()), END_S + 7)
    assert [day.start_s for day in found] == [END_S - back * DAY_S for back in range(30, 0, -1)]
    for day in found[::10]:
        known = (day.start_s - MONDAY_S) // DAY_S * DAY
        then = forecast(Auto(), slots_from(kwh[:known]), day.start_s, day.start_s + DAY_S)
        assert day.expected == Expected(then.kwh, then.lower, then.upper)
        assert day.kwh == pytest.approx(kwh[known : known + DAY].sum())


def test_with_much_history_one_fit_says_what_was_expected_of_each_day() -> None:
    """The last day is exact, the others are near; `seasonal_naive`, which learns nothing, is exact on all."""
    kwh = weekly(100)
    slots, end_s = slots_from(kwh), MONDAY_S + 100 * DAY_S
    found = watched(Watch(MemoryReader(slots), Auto()), end_s)
    for day in found[::-7]:
        then = forecast(Auto(), slots[slots.start_s < day.start_s], day.start_s, day.start_s + DAY_S)
        off = np.subtract(day.expected, (then.kwh, then.lower, then.upper))
        assert np.abs(off).max() < 0.25 * (then.upper - then.lower)
        assert day is not found[-1] or not off.any()
    model = Counting()
    one_fit, each = watched(Watch(MemoryReader(slots), model), end_s), Watch(MemoryReader(slots), Counting())
    assert model.fits == 1
    assert one_fit[-9:] == [watched(each, end_s - back * DAY_S)[-1] for back in range(8, -1, -1)]


def test_a_fit_at_another_time_of_day_says_nothing_of_a_day() -> None:
    """The last day's history ends in a day that does not count, so the one before has a fit of its own."""
    kwh = weekly(100)
    kwh[98 * DAY + 60 : 99 * DAY] = np.nan
    model = Counting()
    found = watched(Watch(MemoryReader(slots_from(kwh)), model), MONDAY_S + 100 * DAY_S)
    assert model.fits == 2
    assert len(found) == 29
    assert found[-2].expected.kwh == pytest.approx(kwh[90 * DAY : 91 * DAY].sum())


def test_days_that_are_hardly_known_or_have_no_history_do_not_count() -> None:
    kwh = np.full(12 * DAY, 2.0)
    kwh[4 * DAY : 4 * DAY + 5] = np.nan
    kwh[5 * DAY : 5 * DAY + 12] = np.nan
    found = watched(over(kwh), MONDAY_S + 12 * DAY_S)
    assert [(day.start_s - MONDAY_S) // DAY_S for day in found] == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert {day.kwh for day in found} == {192.0}
    assert watched(over(kwh), MONDAY_S + DAY_S) == []
    assert watched(over(kwh), 0) == []


def test_each_day_is_forecast_once() -> None:
    model, store = Counting(), MemoryReader(slots_from(weekly(DAYS)))
    of = Watch(store, model)
    before = watched(of, END_S - DAY_S)
    assert model.fits == 30
    assert watched(of)[:-1] == before[1:]
    assert model.fits == 31
    store.kept.kwh[-DAY:] *= 2
    assert watched(of)[-1].kwh == pytest.approx(store.kept.kwh[-DAY:].sum())  # what came is read anew
    assert model.fits == 31
    watched(of, ship=8)
    assert model.fits == 61


def test_forecasts_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "CACHE_SIZE", 40)
    of = over(weekly(DAYS))
    for ship in range(3):
        watched(of, ship=ship)
        assert len(of._cache) <= 40


def test_days_that_were_found_before_are_not_forecast_again() -> None:
    model, store, found = Counting(), MemoryReader(slots_from(weekly(DAYS))), Accuracies()
    before = watched(Watch(store, model), END_S - DAY_S)
    found.put(7, END_S - DAY_S, before)
    model.fits = 0
    assert watched(Watch(store, model, found))[:-1] == before[1:]
    assert model.fits == 1
    learned = Watch(store, model)
    learned.learn(7, before)
    assert watched(learned)[:-1] == before[1:]
    assert model.fits == 2
