"""Forecasts with covariates: they help where the energy follows them, and do no harm where it does not."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query_api.forecast.days import days_of
from query_api.forecast.forecast import Forecast, forecast
from query_api.forecast.history import history_of
from query_api.forecast.known import known_in
from query_api.forecast.models import pooled
from query_api.forecast.models.auto import Auto, contest
from query_api.forecast.models.explained import Explained
from shared.domain.columns import F64
from shared.domain.covariates import Table
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import US_PER_S
from tests.support.slots import DAY, MONDAY_S, slots_from, weekly

DAYS = 100
DAY_S = DAY * SLOT_S
HOUR_S = 3600


@dataclass(frozen=True)
class Voyages:
    """A ship that lies in port and sails, at speeds that are planned: its energy and its speed, float64[n] each."""

    kwh: F64
    speed: F64


@cache
def voyages(days: int = DAYS, seed: int = 3) -> Voyages:
    """Make a ship whose power grows with the third power of its speed, with noise that lasts for hours."""
    rng = np.random.default_rng(seed)
    n = days * DAY
    speed, at = np.zeros(n), 0
    while at < n:
        at += int(rng.integers(24, 160))
        sailing = int(rng.integers(40, 288))
        speed[at : at + sailing] = rng.uniform(9, 19)
        at += sailing
    noise = np.zeros(n)
    for i in range(1, n):
        noise[i] = 0.97 * noise[i - 1] + rng.normal(0, 1.2)
    kwh = 20 + 5 * np.sin(2 * np.pi * np.arange(n) / DAY) + 0.02 * speed**3 + noise
    return Voyages(np.maximum(kwh, 0.0), speed)


def table(**columns: F64) -> Table:
    """Make a table with a row for each slot."""
    n = max(map(len, columns.values()))
    moment_us = (MONDAY_S + SLOT_S * np.arange(n, dtype=np.int64)) * US_PER_S
    return Table(moment_us, {name: np.asarray(each, np.float64) for name, each in columns.items()})


def ahead(kwh: F64, day: int, covariates: Table | None, first: int = 0, slots: int = DAY) -> Forecast:
    """Forecast some slots after so many days."""
    start_s = MONDAY_S + day * DAY_S
    first_s = start_s + first * SLOT_S
    known = slots_from(kwh[: day * DAY])
    return forecast(Auto(), known, first_s, first_s + slots * SLOT_S, (), covariates)


def wape(kwh: F64, covariates: Table | None, day: int = 0, slots: int = DAY, every: int = 7) -> float:
    """Return the WAPE of totals over windows that begin so many days after different ones."""
    errors, sizes = list[float](), list[float]()
    for known in range(40, len(kwh) // DAY - 8, every):
        first = (known + day) * DAY
        came = float(kwh[first : first + slots].sum())
        errors.append(abs(ahead(kwh, known, covariates, day * DAY, slots).kwh - came))
        sizes.append(came)
    return sum(errors) / sum(sizes)


@pytest.mark.parametrize(("day", "slots", "share"), [(0, 4, 0.6), (0, DAY, 0.25), (6, DAY, 0.4)])
def test_a_ship_that_follows_its_planned_speed_is_forecast_far_better_with_it(
    day: int, slots: int, share: float
) -> None:
    ship = voyages()
    assert wape(ship.kwh, table(speed=ship.speed), day, slots) < share * wape(ship.kwh, None, day, slots)


def test_a_planned_stay_is_believed_of_a_ship_that_seldom_stays() -> None:
    """It sails for weeks at one speed, and then lies in port for four days: the plain models are right on most days."""
    speed = np.where(np.arange(DAYS * DAY) // DAY % 24 < 20, 14.0, 0.0)
    kwh = 20 + 0.02 * speed**3 + np.random.default_rng(1).normal(0, 2, len(speed))
    planned, without = (ahead(kwh, 92, each).kwh for each in (table(speed=speed), None))
    came = float(kwh[92 * DAY : 93 * DAY].sum())
    assert abs(planned - came) < 0.4 * came < abs(without - came)


@pytest.mark.parametrize("count", [1, 8])
def test_noise_as_covariates_does_no_harm(count: int) -> None:
    kwh = weekly(DAYS)
    rng = np.random.default_rng(5)
    noise = table(**{f"noise_{i}": np.repeat(rng.normal(0, 1, len(kwh) // 24), 24) for i in range(count)})
    for day in (0, 6):
        assert wape(kwh, noise, day, every=3) < 1.04 * wape(kwh, None, day, every=3)


def test_the_contest_names_them_and_their_weight_is_in_the_answer() -> None:
    ship = voyages()
    slots, known = slots_from(ship.kwh[: 80 * DAY]), table(speed=ship.speed)
    history = history_of(slots, MONDAY_S + 80 * DAY_S, known)
    found = {each.model: each for each in contest(Auto(), history)}
    assert found["covariates"].weight["first_day"] > 0.8
    assert (found["covariates"].wape["first_day"] or 1) < (found["pooled"].wape["first_day"] or 0)
    assert ((ahead(ship.kwh, 80, known).weights or {})["covariates"]) > 0.8


def test_the_past_is_forecast_from_what_was_known_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came later makes hardly a difference: units are chosen once for the whole history, and so is the penalty."""
    monkeypatch.setattr(pooled, "PENALTIES", (10.0,))
    ship, day = voyages(), 60
    history, changed = (
        history_of(slots_from(kwh[: 80 * DAY]), MONDAY_S + 80 * DAY_S, table(speed=ship.speed))
        for kwh in (ship.kwh, np.where(np.arange(len(ship.kwh)) < day * DAY, ship.kwh, ship.kwh[::-1]))
    )
    found, other = (Explained().predictor(days_of(each))(0) for each in (history, changed))
    off = np.abs(found - other).mean(axis=1) / np.abs(found).mean(axis=1)
    assert off[:day].max() < 0.02
    assert off[day:].max() > 0.05


def same(one: Forecast, other: Forecast) -> bool:
    """Return whether two forecasts are the same, bit for bit."""
    return one.path.kwh.tobytes() == other.path.kwh.tobytes() and (one.lower, one.upper) == (other.lower, other.upper)


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"constant": np.full(DAYS * DAY, 7.0)},
        {"unknown": np.full(DAYS * DAY, np.nan)},
        {"only_past": np.where(np.arange(DAYS * DAY) < 60 * DAY, voyages().speed, np.nan)},
        {"only_ahead": np.where(np.arange(DAYS * DAY) < 60 * DAY, np.nan, voyages().speed)},
        {"few_days": np.where(np.arange(DAYS * DAY) < 47 * DAY, np.nan, voyages().speed)},
        {"a_row": np.where(np.arange(DAYS * DAY) == 59 * DAY, 1.0, np.nan)},
    ],
    ids=lambda columns: next(iter(columns), "none"),
)
def test_covariates_that_cannot_be_used_change_nothing(columns: dict[str, F64]) -> None:
    kwh = voyages().kwh
    assert same(ahead(kwh, 60, table(**columns) if columns else table(x=np.zeros(0))), ahead(kwh, 60, None))


def test_covariates_are_not_used_beyond_what_is_known_of_them() -> None:
    """They are known for half of the second day: it and all that follows is forecast without them."""
    ship = voyages()
    until = 61 * DAY + 48
    known = table(speed=np.where(np.arange(len(ship.speed)) < until, ship.speed, np.nan))
    kwh, week = ship.kwh, 7 * DAY
    found, without, all_known = (
        ahead(kwh, 60, each, 0, week).path.kwh for each in (known, None, table(speed=ship.speed))
    )
    assert without is not None
    assert np.array_equal(found[DAY:], without[DAY:])
    assert np.allclose(found[:DAY], all_known[:DAY], rtol=0.02)
    assert not np.allclose(found[:DAY], without[:DAY], rtol=0.02)


def test_covariates_known_for_different_times_count_as_long_as_each_is_known() -> None:
    """The other one says the same, and is known for a day only: the speed alone explains the days after it."""
    ship = voyages()
    other = np.where(np.arange(len(ship.speed)) < 61 * DAY, ship.speed, np.nan)
    found = ahead(ship.kwh, 60, table(speed=ship.speed, other=other), 2 * DAY, 4 * DAY).path.kwh
    came = ship.kwh[62 * DAY : 66 * DAY]
    alone = ahead(ship.kwh, 60, table(speed=ship.speed), 2 * DAY, 4 * DAY).path.kwh
    assert np.abs(found - came).sum() < 1.02 * np.abs(alone - came).sum()


def test_between_rows_the_value_changes_evenly_and_after_the_last_one_it_stays_for_a_step() -> None:
    hours = np.array([0, 1, 2, 60, 61])
    rows = Table((MONDAY_S + HOUR_S * hours) * US_PER_S, {"x": np.array([0.0, 4.0, 8.0, 1.0, 5.0])})
    (found,) = known_in(rows, MONDAY_S - SLOT_S, 4 * 64)
    assert np.isnan(found[0])
    assert found[1:10].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.0]
    assert found[10:13].tolist() == [8.0] * 3
    assert np.isnan(found[13 : 1 + 60 * 4]).all(), "rows more than two days apart"
    assert found[1 + 61 * 4 :][:4].tolist() == [5.0] * 4
    assert np.isnan(found[1 + 62 * 4 :]).all()


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Any tables: few rows, gaps, absurd values, only in the past or ahead."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([0, 1, 2, 50, 3000]))
    step_s = draw(st.sampled_from([1, 900, HOUR_S, DAY_S, 5 * DAY_S]))
    first_s = MONDAY_S + draw(st.sampled_from([-3000, -30, 0, 20, 45])) * DAY_S
    moment_us = (first_s + np.sort(rng.choice(2 * n, n, replace=False)) * step_s) * US_PER_S
    values = {}
    for i in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["normal", "huge", "constant", "nearly", "steps"]))
        column = {
            "normal": rng.normal(0, 1, n),
            "huge": rng.choice([-1e12, 0.0, 1e-300, 1e12], n),
            "constant": np.full(n, 3.3),
            "nearly": 1e12 + rng.normal(0, 1e-4, n),
            "steps": rng.integers(0, 3, n).astype(np.float64),
        }[kind]
        values[f"x{i}"] = np.where(rng.random(n) < draw(st.sampled_from([0.0, 0.5])), np.nan, column)
    return Table(moment_us.astype(np.int64), values)


@given(
    covariates=tables(),
    days=st.sampled_from([2, 15, 40]),
    slots=st.sampled_from([1, DAY, 20 * DAY]),
    is_still=st.booleans(),
)
@settings(max_examples=40)
def test_every_forecast_is_finite_and_in_order(covariates: Table, days: int, slots: int, *, is_still: bool) -> None:
    kwh = np.zeros(days * DAY) if is_still else weekly(days)
    found = ahead(kwh, days, covariates, 0, slots)
    path = found.path
    assert np.isfinite([*path.lower, *path.kwh, *path.upper]).all()
    assert found.lower <= found.kwh <= found.upper
    contest(Auto(), history_of(slots_from(kwh), MONDAY_S + days * DAY_S, covariates))
