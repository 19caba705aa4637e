"""Forecasts: whatever a ship's slots are they are finite and in order, and on a ship with a pattern they are good."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query_api.forecast.fit import Model
from query_api.forecast.forecast import Forecast, forecast
from query_api.forecast.history import history_of
from query_api.forecast.models.auto import Auto
from query_api.forecast.models.linear import Linear
from query_api.forecast.models.pooled import Pooled
from query_api.forecast.models.seasonal_naive import SeasonalNaive
from query_api.forecast.steps import modelled
from shared.domain.slots import SLOT_S, Slots
from tests.support.slots import DAY, MONDAY_S, slots_from, weekly

MODELS: list[Model] = [Linear(), SeasonalNaive(), Pooled(), Auto()]
EXACT: list[Model] = [Linear(), SeasonalNaive(), Auto()]
"""Without noise they repeat a week as it is; `pooled` smooths its edges."""
each_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
HORIZONS = {"hour": 4, "day": DAY, "week": 7 * DAY}


def ahead(model: Model, slots: Slots, steps: int, lead: int = 0) -> Forecast:
    """Forecast so many slots, from `lead` slots after the last one on."""
    start_s = int(slots.start_s[-1]) + SLOT_S * (1 + lead)
    return forecast(model, slots, start_s, start_s + steps * SLOT_S)


@st.composite
def histories(draw: st.DrawFn) -> Slots:
    """Ships of all kinds: constant, silent for long, known in part, with slots that are absurd."""
    days = draw(st.sampled_from([2, 3, 9, 20, 22, 36, 60]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kwh = draw(
        st.sampled_from(
            [np.zeros(days * DAY), np.full(days * DAY, 0.1), weekly(days, 3), rng.lognormal(0, 4, days * DAY)]
        )
    )
    kwh = kwh * draw(st.sampled_from([1.0, 1e-9, 1e11, -1.0]))
    for _ in range(draw(st.integers(0, 3))):
        kwh[rng.integers(len(kwh))] = rng.choice([0.0, 2.5e11, 1e12])
    slots = slots_from(kwh)
    share = draw(st.sampled_from([1.0, 0.9, 0.6]))
    keep = rng.random(len(slots)) < share
    hole = rng.integers(0, len(slots), 2)
    keep[hole.min() : hole.max()] &= draw(st.booleans())
    keep[:DAY] = keep[-1] = True
    slots = slots[keep]
    cover = rng.choice([1.0, 900 / 7, 1e-3], len(slots), p=[0.8, 0.1, 0.1]) if draw(st.booleans()) else np.ones(1)
    cover = np.where(np.arange(len(slots)) < DAY, 1.0, np.minimum(cover, 1.0))
    slots.kwh[:] *= cover
    slots.covered_s[:] *= cover
    slots.provisional[-5:] = draw(st.booleans())
    return slots


@given(histories(), st.sampled_from([0, 1, 4, 97, 700, 1500]), st.sampled_from([0, 3, 500, 3000]), st.data())
@settings(max_examples=40)
def test_every_forecast_is_finite_and_in_order_and_is_the_sum_of_its_path(
    slots: Slots, steps: int, lead: int, data: st.DataObject
) -> None:
    found = ahead(data.draw(st.sampled_from(MODELS)), slots, steps, lead)
    path = found.path
    assert len(path.kwh) == steps
    assert np.isfinite([found.lower, found.kwh, found.upper, *path.lower, *path.kwh, *path.upper]).all()
    assert found.lower <= found.kwh <= found.upper
    assert ((path.lower <= path.kwh) & (path.kwh <= path.upper)).all()
    assert path.kwh.sum() == pytest.approx(found.kwh, rel=1e-9, abs=1e-9)
    assert (np.diff(path.start_s) == SLOT_S).all()
    if (slots.kwh >= 0).all():
        assert found.lower >= 0
        assert (path.lower >= 0).all()
    assert found.slots <= len(slots)


SHARES = (0.002, 0.05, 0.1, 0.45, 0.5, 0.55, 0.9, 0.95, 0.999)


@given(histories(), st.sampled_from([0, 1, 97, 700]), st.sampled_from([0, 500]), st.sampled_from(MODELS))
@settings(max_examples=25)
def test_quantiles_grow_and_those_of_the_interval_are_its_ends(
    slots: Slots, steps: int, lead: int, model: Model
) -> None:
    start_s = int(slots.start_s[-1]) + SLOT_S * (1 + lead)
    found = forecast(model, slots, start_s, start_s + steps * SLOT_S, SHARES)
    for of in (found, found.path):
        assert (np.diff(of.quantiles, axis=0) >= -1e-9 * np.abs(of.quantiles[1:])).all()
        assert of.quantiles[1] == pytest.approx(of.lower, rel=1e-9)
        assert of.quantiles[-2] == pytest.approx(of.upper, rel=1e-9)
    plain = forecast(model, slots, start_s, start_s + steps * SLOT_S)
    assert (plain.kwh, plain.lower, plain.upper) == (found.kwh, found.lower, found.upper)


def test_quantiles_hold_as_often_as_they_say() -> None:
    """Of 120 days, each forecast from those before it."""
    kwh = weekly(220)
    shares = (0.1, 0.25, 0.5, 0.75, 0.9)
    below = []
    for day in range(100, 220):
        start_s = MONDAY_S + day * DAY * SLOT_S
        found = forecast(SeasonalNaive(), slots_from(kwh[: day * DAY]), start_s, start_s + DAY * SLOT_S, shares)
        below.append(kwh[day * DAY : (day + 1) * DAY].sum() < found.quantiles)
    assert np.mean(below, axis=0) == pytest.approx(shares, abs=0.1)


@each_model
def test_what_comes_from_the_start_on_changes_nothing(model: Model) -> None:
    """Not even if the store has it: a window in the past is an honest back-test."""
    kwh = weekly(60)
    start_s = MONDAY_S + 50 * DAY * SLOT_S

    def total(of: Any) -> tuple[float, float, float]:
        found = forecast(model, slots_from(of), start_s, start_s + DAY * SLOT_S)
        return found.kwh, found.lower, found.upper

    louder = kwh.copy()
    louder[50 * DAY :] *= 3
    assert total(kwh) == total(louder) == total(kwh[: 50 * DAY])


@each_model
@pytest.mark.parametrize("days", [1, 2, 10, 40])
def test_a_ship_that_never_changes_goes_on(model: Model, days: int) -> None:
    found = ahead(model, slots_from(np.full(days * DAY, 2.5)), DAY)
    assert (found.kwh, found.lower, found.upper) == pytest.approx((240, 240, 240))


def test_a_ship_that_repeats_its_week_goes_on_so_for_as_long_as_asked() -> None:
    kwh = weekly(70, noise=0)
    year = np.tile(kwh[: 7 * DAY], 53)[: 366 * DAY]
    for model in EXACT:
        assert ahead(model, slots_from(kwh), 366 * DAY).path.kwh == pytest.approx(year, abs=0.05)


@pytest.mark.parametrize("model", EXACT, ids=lambda model: model.name)
def test_after_a_silence_the_days_of_the_week_are_still_the_same(model: Model) -> None:
    """A month later the lags reach back to before it, and the answer says how far."""
    kwh = weekly(100, noise=0)
    slots = slots_from(kwh[: 63 * DAY])
    found = ahead(model, slots, DAY, lead=33 * DAY)
    assert found.path.kwh == pytest.approx(kwh[96 * DAY : 97 * DAY], abs=0.05)
    assert found.trained_to_s == MONDAY_S + 63 * DAY * SLOT_S


def test_missing_slots_are_not_zeros() -> None:
    """With a third of all slots gone the total is about what it is with all of them."""
    kwh = weekly(90)
    holed = np.where(np.random.default_rng(2).random(len(kwh)) < 1 / 3, np.nan, kwh)
    holed[-1] = kwh[-1]
    whole, part = (ahead(Linear(), slots_from(each), DAY).kwh for each in (kwh, holed))
    assert part == pytest.approx(whole, rel=0.1)  # with zeros it would be a third less


def test_a_longer_window_is_less_sure_and_a_later_one_too() -> None:
    slots = slots_from(weekly(120))
    widths = [found.upper - found.lower for found in (ahead(Linear(), slots, steps) for steps in (4, DAY, 7 * DAY))]
    assert widths == sorted(widths)
    near, far = (ahead(Linear(), slots, DAY, lead) for lead in (0, 5 * DAY))
    assert far.upper - far.lower > near.upper - near.lower


def test_past_days_are_forecast_without_having_been_seen() -> None:
    """Nothing can be learned of noise: who says otherwise has looked, and his intervals are too narrow."""
    kwh = 10 + np.repeat(np.random.default_rng(5).normal(0, 1, 200), DAY)
    history = history_of(slots_from(kwh), MONDAY_S + 200 * DAY * SLOT_S)
    fit = Linear().fit(7, history, [0])
    came = kwh[fit.origins + 1]
    assert (came - fit.past[:, 1])[:120].std() > 0.97 * came[:120].std()


def test_beyond_two_weeks_the_second_one_is_repeated() -> None:
    week = 7 * DAY
    assert modelled(np.array([0, 2 * week - 1, 2 * week, 3 * week - 1, 52 * week + 5])).tolist() == [
        0,
        2 * week - 1,
        week,
        2 * week - 1,
        week + 5,
    ]


def test_on_a_ship_with_a_pattern_linear_beats_naive_and_its_intervals_hold() -> None:
    """Rolling windows of a made-up ship: what `./power backtest` does."""
    slots = slots_from(weekly(320))
    errors: dict[str, list[float]] = {each.name: [] for each in MODELS}
    inside = 0
    days = range(200, 316, 5)
    for day in days:
        start_s = MONDAY_S + (day * DAY + day % 24 * 4) * SLOT_S
        came = slots.kwh[(slots.start_s >= start_s) & (slots.start_s < start_s + DAY * SLOT_S)].sum()
        for model in MODELS:
            found = forecast(model, slots, start_s, start_s + DAY * SLOT_S)
            errors[model.name].append(abs(found.kwh - came))
            inside += model.name == "linear" and found.lower <= came <= found.upper
    assert sum(errors["linear"]) < 0.75 * sum(errors["seasonal_naive"])
    assert 0.8 <= inside / len(days) <= 0.98
