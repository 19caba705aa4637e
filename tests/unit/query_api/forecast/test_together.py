"""Forecasts of several ships: they are the sum of their ships', and no worse than either way to forecast a sum."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from query_api.forecast import fleet
from query_api.forecast.fleet import FleetForecast, FleetForecasts
from query_api.forecast.forecast import forecast
from query_api.forecast.models.auto import Auto
from query_api.forecast.models.seasonal_naive import SeasonalNaive
from query_api.forecast.series import Series
from query_api.forecast.steps import DAY_S
from shared.domain.columns import F64
from shared.domain.covariates import Covariates
from shared.domain.errors import InvalidInput
from shared.domain.slots import SLOT_S, Slots, Window
from shared.store.port import FleetSlots, ShipEnergy
from tests.support.planned_speed import kwh_at, planned, speeds
from tests.support.slots import DAY, MONDAY_S, slots_from, weekly

DAYS = 80
END_S = MONDAY_S + DAYS * DAY_S
FLEET = {ship: weekly(DAYS, seed=ship) * (1 + ship) for ship in range(4)}


@dataclass
class MemoryReader:
    """A store in memory, that counts how often it is read."""

    ships: dict[int, Slots]
    reads: int = 0
    tables: dict[int, Covariates] = field(default_factory=dict)

    def slots(self, ship: int, window: Window) -> Slots:
        self.reads += 1
        found = self.ships.get(ship, slots_from(np.zeros(0)))
        start_s, end_s = window.bounds_s()
        return found[(found.start_s >= start_s) & (found.start_s < end_s)]

    def fleet(self, window: Window) -> FleetSlots:
        found = [self.slots(ship, window) for ship in self.ships]
        start_s, at = np.unique(np.concatenate([each.start_s for each in found]), return_inverse=True)
        columns = (
            np.concatenate([each.kwh for each in found]),
            np.concatenate([each.covered_s for each in found]),
            np.ones(len(at)),
        )
        kwh, covered_s, ships = (np.bincount(at, column).astype(np.float64) for column in columns)
        n = len(start_s)
        none = np.zeros(n, np.bool_)
        return FleetSlots(start_s, kwh, covered_s, none, np.zeros(n), ships.astype(np.int64), ships.astype(np.int64))

    def top_ships(self, window: Window, count: int) -> list[ShipEnergy]:
        used = {ship: self.slots(ship, window) for ship in self.ships}
        found = [
            ShipEnergy(ship, float(of.kwh.sum()), float(of.covered_s.sum())) for ship, of in used.items() if len(of)
        ]
        return sorted(found, key=lambda each: -each.kwh)[:count]

    def covariates(self, ship: int) -> Covariates | None:
        return self.tables.get(ship)


def reader(kwh: dict[int, F64]) -> MemoryReader:
    return MemoryReader({ship: slots_from(of, ship=ship) for ship, of in kwh.items()})


def ahead(
    store: MemoryReader, ships: tuple[int, ...] | None = None, days: int = 1, start_s: int = END_S,
    quantiles: Sequence[float] = (),
) -> FleetForecast:  # fmt: skip
    *_, found = FleetForecasts(store, Auto()).pieces((ships, start_s, start_s + days * DAY_S, tuple(quantiles)))
    assert found is not None
    return found


@pytest.mark.parametrize(("days", "single"), [(0, 100), (1, 100), (3, 93), (7, 40), (14, 20)])
def test_the_longer_the_window_the_fewer_ships_are_forecast_singly(days: int, single: int) -> None:
    assert fleet._single(days * DAY_S) == single


@pytest.mark.parametrize("ships", [None, (1, 3), (2,)])
def test_ships_add_up_to_the_total_and_so_do_slots(ships: tuple[int, ...] | None) -> None:
    answer = ahead(reader(FLEET), ships, 2, quantiles=(0.05, 0.5, 0.95))
    whole = answer.found.whole
    assert {each.ship for each in answer.found.shares} == set(FLEET if ships is None else ships)
    assert sum(each.kwh for each in answer.found.shares) == pytest.approx(whole.kwh)
    assert whole.path.kwh.sum() == pytest.approx(whole.kwh)
    assert all(each.lower <= each.kwh <= each.upper for each in answer.found.shares)
    assert whole.lower <= whole.kwh <= whole.upper
    assert whole.quantiles.tolist() == pytest.approx([whole.lower, whole.quantiles[1], whole.upper])


def test_a_ship_is_forecast_with_its_covariates() -> None:
    speed = speeds(DAYS + 1)
    store = reader({**FLEET, 7: kwh_at(speed)})
    came = float(kwh_at(speed)[-DAY:].sum())
    without = {each.ship: each.kwh for each in ahead(store).found.shares}
    store.tables[7] = planned(speed)
    found = {each.ship: each.kwh for each in ahead(store).found.shares}
    assert abs(found[7] - came) < 0.1 * came < abs(without[7] - came)


def test_a_group_of_one_is_forecast_like_its_ship() -> None:
    slots = slots_from(FLEET[2], ship=2)
    own, whole = forecast(Auto(), slots, END_S, END_S + DAY_S), ahead(reader(FLEET), (2,)).found.whole
    assert (whole.kwh, whole.lower, whole.upper) == pytest.approx((own.kwh, own.lower, own.upper))


def test_the_interval_of_the_sum_is_narrower_than_the_sum_of_intervals() -> None:
    """Errors of ships that are independent cancel out."""
    found = ahead(reader(FLEET)).found
    ships = sum(each.upper - each.lower for each in found.shares)
    assert 0.3 * ships < found.whole.upper - found.whole.lower < 0.8 * ships


def test_ships_beyond_the_largest_are_forecast_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "MAX_SHIPS", 2)
    found, group = ahead(reader(FLEET)).found, ahead(reader(FLEET), (0, 1, 2, 3)).found
    assert [each.ship for each in found.shares] == [each.ship for each in group.shares] == [3, 2, None]
    assert [each.kwh for each in found.shares] == pytest.approx([each.kwh for each in group.shares])
    others = found.shares[2].kwh
    assert others == pytest.approx(ahead(reader(FLEET), (0, 1)).found.whole.kwh, rel=0.1)


def test_a_ship_that_left_the_fleet_counts_no_more_and_a_new_one_is_named() -> None:
    kwh = dict(FLEET) | {1: FLEET[1][: -29 * DAY], 9: np.full(DAY // 2, 1.0)}
    store = reader(kwh)
    store.ships[9].start_s[:] += (DAYS * DAY - DAY // 2) * SLOT_S
    answer = ahead(store, (0, 1, 2, 9, 77))
    assert answer.left_out == (1, 9, 77)
    assert [each.ship for each in answer.found.shares] == [2, 0]
    assert 1 not in {each.ship for each in ahead(store).found.shares}
    with pytest.raises(InvalidInput):
        ahead(store, (1, 9))


def test_a_ship_whose_last_hours_are_missing_is_no_drop_of_the_sum() -> None:
    kwh = dict(FLEET)
    kwh[3] = FLEET[3][: -DAY // 3]
    part, whole = (ahead(reader(each)).found.whole.kwh for each in (kwh, FLEET))
    assert part == pytest.approx(whole, rel=0.06)  # the ship is half of the fleet
    series = Series(Window(MONDAY_S, END_S))
    for ship, of in kwh.items():
        series.add(slots_from(of, ship=ship))
    assert series.slots().start_s[-1] == END_S - DAY_S // 3 - SLOT_S


def test_ships_that_use_nothing_add_up_to_nothing() -> None:
    found = ahead(reader({1: np.zeros(30 * DAY), 2: np.zeros(30 * DAY)}), start_s=MONDAY_S + 30 * DAY_S).found
    assert (found.whole.kwh, found.whole.lower, found.whole.upper) == (0, 0, 0)
    assert [each.kwh for each in found.shares] == [0, 0]


def test_energy_may_be_negative() -> None:
    kwh = {1: -FLEET[1], 2: FLEET[2] * 0.5, 3: -FLEET[3] * 0.1}
    found = ahead(reader(kwh)).found
    assert sum(each.kwh for each in found.shares) == pytest.approx(found.whole.kwh)
    assert found.whole.lower <= found.whole.kwh <= found.whole.upper


def test_nothing_after_start_counts() -> None:
    start_s = END_S - 5 * DAY_S
    louder = {ship: np.where(np.arange(len(of)) < (DAYS - 5) * DAY, of, 9 * of) for ship, of in FLEET.items()}
    found = [ahead(reader(each), start_s=start_s).found.whole for each in (FLEET, louder)]
    assert (found[0].kwh, found[0].lower) == (found[1].kwh, found[1].lower)


def test_an_answer_is_kept_for_a_quarter_of_an_hour() -> None:
    store, at_s = reader({1: FLEET[1], 2: FLEET[2]}), 0.0
    forecasts = FleetForecasts(store, SeasonalNaive(), now_s=lambda: at_s)
    key = (1, 2), END_S, END_S + DAY_S, ()
    *_, first = forecasts.pieces(key)
    reads = store.reads
    assert [*forecasts.pieces(key)] == [first]
    assert store.reads == reads
    at_s = fleet.MAX_AGE_S + 1
    assert forecasts.find(key) is None


def test_days_before_most_ships_joined_say_nothing_of_their_errors() -> None:
    """A small ship is known for long, and a large one that joined it for three weeks."""
    small, large = FLEET[0] / 50, FLEET[3].copy()
    large[: -21 * DAY] = np.nan
    group = ahead(reader({0: small, 3: large}), (0, 3)).found.whole
    own = forecast(Auto(), slots_from(large, ship=3), END_S, END_S + DAY_S)
    assert 0.8 < (group.upper - group.lower) / (own.upper - own.lower) < 1.3
