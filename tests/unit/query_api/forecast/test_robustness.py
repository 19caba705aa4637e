"""The default model on ships that are hard to forecast: new, with holes, in dock, spiky, with a bad reading."""

import numpy as np
import pytest

from query_api.forecast.conformal import quantiles
from query_api.forecast.days import days_of
from query_api.forecast.forecast import Forecast, forecast
from query_api.forecast.history import history_of
from query_api.forecast.intervals import student
from query_api.forecast.models.auto import Auto, contest, mixture
from query_api.forecast.models.linear import Linear
from query_api.forecast.models.plain import LastWeek, Yesterday, recent_days, recent_weeks
from query_api.forecast.models.pooled import Pooled
from query_api.forecast.models.seasonal_naive import SeasonalNaive
from shared.domain.columns import F64
from shared.domain.slots import SLOT_S
from tests.support.slots import DAY, MONDAY_S, slots_from, weekly

DAYS = 100
RNG = np.random.default_rng(4)
ENDS = np.array([0.05, 0.95])


def ahead(kwh: F64, steps: int = DAY) -> Forecast:
    """Forecast what follows all these slots; NaN is a slot that is missing."""
    start_s = MONDAY_S + len(kwh) * SLOT_S
    return forecast(Auto(), slots_from(kwh), start_s, start_s + steps * SLOT_S)


def holed(kwh: F64, missing: slice | F64) -> F64:
    kwh = kwh.copy()
    kwh[missing if isinstance(missing, slice) else missing.astype(np.bool_)] = np.nan
    return kwh


def docked(day: int) -> F64:
    """Give a ship that lies in dock from day 80 to 94, up to a day after that began."""
    kwh = weekly(DAYS)
    kwh[80 * DAY : 94 * DAY] = 0.0
    return kwh[: (80 + day) * DAY]


BLOCKS = np.repeat(np.random.default_rng(2).random(DAYS * 4) < 0.3, DAY // 4).astype(np.float64)
SINGLE = (np.random.default_rng(3).random(DAYS * DAY) < 0.3).astype(np.float64)
SHIPS = {
    **{f"{days} days": weekly(days) for days in (1, 2, 3, 5, 7, 10, 14, 21, 28, 60, 180)},
    "30 % missing in blocks": holed(weekly(DAYS), BLOCKS),
    "30 % missing in single slots": holed(weekly(DAYS), SINGLE),
    "last day missing": holed(weekly(DAYS), slice(-DAY, None)),
    "all but the last slot of it missing": holed(weekly(DAYS), slice(-DAY, -1)),
    **{f"in dock since {days} days": docked(days) for days in (1, 2, 7, 14)},
    **{f"{days} days after the dock": docked(14 + days) for days in (1, 2, 4)},
    "constant": np.full(DAYS * DAY, 3.0),
    "nothing": np.zeros(DAYS * DAY),
    "intermittent": np.where(RNG.random(DAYS * DAY) < 0.02, 20.0, 0.0),
    "spiky": RNG.lognormal(0, 2, DAYS * DAY),
    "negative": -weekly(DAYS),
    "both signs": weekly(DAYS) - 8,
    "one slot in a hundred days": np.where(np.arange(DAYS * DAY) == 5000, 7.0, 0.0),
}


@pytest.mark.parametrize("name", SHIPS)
def test_every_ship_has_a_forecast_inside_its_interval(name: str) -> None:
    kwh = SHIPS[name]
    for steps in (4, DAY, 7 * DAY):
        found = ahead(kwh, steps)
        path = found.path
        assert np.isfinite([found.lower, found.kwh, found.upper]).all()
        assert found.lower <= found.kwh <= found.upper
        assert ((path.lower <= path.kwh) & (path.kwh <= path.upper)).all()
        if np.nanmin(kwh) >= 0:
            assert found.lower >= 0
            assert (path.lower >= 0).all()


@pytest.mark.parametrize("days", [3, 20, DAYS])
@pytest.mark.parametrize("slots_back", [1, 5, DAY, 2 * DAY + 7])
def test_one_bad_reading_moves_nothing(days: int, slots_back: int) -> None:
    kwh = weekly(days)
    usual = ahead(kwh)
    kwh[-slots_back] = 1e9
    found = ahead(kwh)
    assert found.kwh == pytest.approx(usual.kwh, rel=0.1)
    assert found.upper < 2 * usual.upper


def test_rare_peaks_that_come_again_are_believed() -> None:
    """Two slots every third day are a tenth of this ship's energy."""
    kwh = np.full(60 * DAY, 1.0)
    for day in range(0, 60, 3):
        kwh[day * DAY + 40 : day * DAY + 42] = 16.0
    history = history_of(slots_from(kwh), MONDAY_S + 60 * DAY * SLOT_S)
    assert (history.kwh == kwh).all()


def test_a_gap_at_the_end_widens_the_interval() -> None:
    """Also if a single slot follows it: the forecast says how old its data is."""
    kwh = weekly(DAYS)
    known, gap, almost = (ahead(each) for each in (kwh, holed(kwh, slice(-DAY, None)), holed(kwh, slice(-DAY, -1))))
    assert gap.upper - gap.lower > 1.2 * (known.upper - known.lower)
    assert (almost.kwh, almost.lower, almost.upper) == (gap.kwh, gap.lower, gap.upper)
    assert almost.trained_to_s == MONDAY_S + (DAYS - 1) * DAY * SLOT_S


def test_a_day_unlike_all_before_may_go_on_or_not() -> None:
    """A ship that has been in dock for the first day, and one that has trebled its load for six hours."""
    usual = ahead(weekly(DAYS)[: 80 * DAY])
    found = ahead(docked(1))
    assert found.lower == pytest.approx(0, abs=1e-9)
    assert found.upper > 0.3 * usual.kwh
    assert ahead(docked(2)).kwh < 0.2 * usual.kwh
    louder = weekly(DAYS)
    louder[-DAY // 4 :] = 3 * louder.max()
    assert ahead(louder).upper > 2 * ahead(weekly(DAYS)).upper


@pytest.mark.parametrize(
    "model", [Yesterday(), recent_days(), recent_weeks(), Linear(), Pooled()], ids=lambda m: m.name
)
def test_past_predictions_depend_on_nothing_later(model: Yesterday) -> None:
    """Whatever follows an origin, what was predicted there stays the same: the contest is honest."""
    kwh = weekly(90)
    history = history_of(slots_from(kwh), MONDAY_S + 90 * DAY * SLOT_S)
    changed = history_of(slots_from(np.concatenate([kwh[: 80 * DAY], 7 + kwh[80 * DAY :]])), history.end_s)
    days, other = days_of(history), days_of(changed)
    for day in (0, 3):
        one, two = (model.predictor(each)(day)[:80] for each in (days, other))
        scale = float(np.abs(one).max())
        # The penalties and the unit are chosen on all days, which moves predictions a little.
        assert np.abs(one - two).max() < 0.2 * scale if model.name in {"linear", "pooled"} else (one == two).all()


def test_past_forecasts_have_the_weights_of_their_time() -> None:
    """A ship without a week for 100 days, then with a strong one: what follows changes no earlier weight."""
    rng = np.random.default_rng(5)
    walk = np.repeat(50 + np.cumsum(rng.normal(0, 1, 100)), DAY)
    kwh = np.concatenate([walk, np.repeat(np.tile([80, 20, 70, 30, 60, 40, 50], 10), DAY)])
    models, mixed, weights = (Yesterday(), LastWeek()), [], []
    for end in (100 * DAY, 170 * DAY):
        days = days_of(history_of(slots_from(kwh[:end]), MONDAY_S + end * SLOT_S))
        predicted = np.stack([each.predictor(days)(0) for each in models])
        path, share = mixture(days, [each.name for each in models], predicted, 0)
        mixed.append(path)
        weights.append(share[0].mean())
    assert weights[0] > 0.7
    assert weights[1] < 0.3
    assert mixed[1][:100] == pytest.approx(mixed[0], abs=0.3)


def test_the_contest_is_won_by_the_model_that_fits_the_ship() -> None:
    rng = np.random.default_rng(1)
    walk = np.repeat(50 + np.cumsum(rng.normal(0, 1, 120)), DAY)
    history = history_of(slots_from(walk), MONDAY_S + 120 * DAY * SLOT_S)
    standings = {each.model: each for each in contest(Auto(), history)}
    assert (standings["yesterday"].wape["first_day"] or 1) < (standings["seasonal_naive"].wape["first_day"] or 0)
    weights = {name: each.weight["first_day"] for name, each in standings.items() if name != "auto"}
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["seasonal_naive"] < 0.1
    best = min(each.wape["first_day"] or 1 for each in standings.values())
    assert (standings["auto"].wape["first_day"] or 1) < 1.1 * best


@pytest.mark.parametrize(("days", "most"), [(2, 1.05), (3, 1.05), (5, 1.15), (7, 1.05), (10, 1.15), (14, 1.05)])
def test_a_new_ship_is_forecast_hardly_worse_than_by_repeating(days: int, most: float) -> None:
    """On made-up ships with quiet weekends: the better of yesterday and last week."""
    errors = np.zeros(3)
    for seed in range(14):
        errors += _errors_after(days, weekly(days + 8, seed, noise=0.5), seed % 7)
    assert errors[2] < most * min(errors[:2])


@pytest.mark.parametrize("days", [7, 10])
def test_a_new_ship_that_keeps_a_level_for_days_is_forecast_by_it(days: int) -> None:
    """The mean of yesterday and last week would be more than twice as far off as yesterday."""
    errors = np.zeros(3)
    for seed in range(14):
        rng = np.random.default_rng(seed)
        level = np.repeat(np.exp(rng.normal(0, 0.5, 10)), rng.integers(3, 9, 10)).repeat(DAY)
        errors += _errors_after(days, level * rng.lognormal(0, 0.25, len(level)), seed % 7)
    assert errors[2] < 2 * min(errors[:2])


def test_a_new_ship_that_differs_at_weekends_alone_is_forecast_exactly() -> None:
    kwh = np.repeat([3.0, 3, 3, 3, 3, 1, 1, 3], DAY)
    assert _errors_after(7, kwh, 0)[2] == pytest.approx(0, abs=1e-9)


def test_the_week_after_a_single_one_is_forecast_by_it() -> None:
    """Seven times the last day would be far off for a ship whose days differ."""
    errors = np.zeros(2)
    for seed in range(14):
        of_day = np.random.default_rng(seed).lognormal(3, 0.4, 14)
        slots = slots_from(np.repeat(of_day[:7] / DAY, DAY))
        start_s, end_s = MONDAY_S + 7 * DAY * SLOT_S, MONDAY_S + 14 * DAY * SLOT_S
        came = of_day[7:].sum()
        errors += [abs(forecast(each, slots, start_s, end_s).kwh - came) for each in (SeasonalNaive(), Auto())]
    assert errors[1] < 1.1 * errors[0]


def _errors_after(days: int, kwh: F64, first: int) -> F64:
    """Return by how much yesterday, last week and `auto` are off, after so many days of history."""
    kwh, begins_s = kwh[first * DAY :][: (days + 1) * DAY], MONDAY_S + first * DAY * SLOT_S
    slots, start_s = slots_from(kwh[: days * DAY], begins_s), begins_s + days * DAY * SLOT_S
    found = [forecast(each, slots, start_s, start_s + DAY * SLOT_S) for each in (Yesterday(), SeasonalNaive(), Auto())]
    off: F64 = np.abs(np.array([each.kwh for each in found]) - kwh[days * DAY :].sum())
    return off


def test_a_single_week_says_nothing_about_how_good_the_week_before_is() -> None:
    """There is none before its own days, so the weights are the first guess; from the second week on errors count."""
    weights = ahead(weekly(7)).weights or {}
    assert weights["yesterday"] + weights["seasonal_naive"] == pytest.approx(1.0)
    assert (ahead(weekly(8)).weights or {})["recent_days"] > 0


def test_a_peak_is_not_expected_to_last_as_a_higher_level_does() -> None:
    """Of a load with a log-normal spread, the forecast of the next hour is near what is best for such loads."""
    apart = [_apart_from_best(seed) for seed in range(5)]
    assert np.mean(apart) < 0.275


def _apart_from_best(seed: int) -> float:
    """Return how far forecasts of an hour are from the best ones, over the energy.

    The logarithm of a slot is 0.85 times that of the slot before it, and noise.
    """
    noise = np.random.default_rng(seed).normal(0, 0.6, 150 * DAY)
    logs = np.zeros(150 * DAY)
    for at in range(1, len(logs)):
        logs[at] = 0.85 * logs[at - 1] + noise[at]
    days = days_of(history_of(slots_from(np.exp(logs)), MONDAY_S + 150 * DAY * SLOT_S))
    fades = 0.85 ** np.arange(1, 5)
    variance = 0.6**2 / (1 - 0.85**2)
    best = days.kwh[60:, -1:] ** fades * np.exp(variance * (1 - fades**2) / 2)
    apart = Pooled().predictor(days)(0)[60:, :4].sum(axis=1) - best.sum(axis=1)
    return float(np.abs(apart).sum() / best.sum())


def test_intervals_follow_a_change_of_the_errors() -> None:
    """After errors have trebled the interval widens within weeks, and it covers nine of ten before and after."""
    rng = np.random.default_rng(7)
    errors = rng.normal(0, 1, 300)
    errors[200:] *= 3
    (calm,), (calm_high,) = quantiles(errors[:200, None], 1, 1.0, ENDS)
    (low,), (high,) = quantiles(errors[:240, None], 1, 1.0, ENDS)
    assert high - low > 1.7 * (calm_high - calm)
    covered = [at for at in range(150, 200) if _holds(errors, at)]
    assert 0.8 <= len(covered) / 50 <= 1


def _holds(errors: F64, at: int) -> bool:
    (low,), (high,) = quantiles(errors[:at, None], 1, 1.0, ENDS)
    return bool(low <= errors[at] <= high)


@pytest.mark.parametrize(("m", "quantile"), [(1, 6.314), (2, 2.920), (5, 2.015), (19, 1.729)])
def test_students_quantiles_are_those_of_the_tables(m: int, quantile: float) -> None:
    assert student(m, 0.95) == pytest.approx(quantile, abs=0.001)


def test_few_weeks_that_overlap_still_give_an_interval_that_holds() -> None:
    """Nine of ten sums of seven random errors lie in the interval from 200 such sums."""
    held = [_holds_sum_of_week(seed) for seed in range(150)]
    assert np.mean(held) >= 0.9


def _holds_sum_of_week(seed: int) -> bool:
    sums = np.convolve(np.random.default_rng(seed).normal(0, 1, 214), np.ones(7), "valid")
    (low,), (high,) = quantiles(sums[:200, None], 7, 7.0, ENDS)
    return bool(low <= sums[206] <= high)
