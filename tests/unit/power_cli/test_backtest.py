"""The scores of a back-test, by hand and on a state's electricity demand."""

import numpy as np
import pytest

from power_cli.backtest import as_text, score, scored
from power_cli.up import ROOT
from query_api.forecast.models.linear import Linear
from query_api.forecast.models.seasonal_naive import SeasonalNaive
from shared.domain.slots import SLOT_S, Slots
from shared.domain.timestamps import moment_us
from tests.support.slots import DAY, MONDAY_S, slots_from

DEMAND = ROOT.parent / "shared" / "data" / "demand-half-hours.csv"


def test_scores_are_what_they_are_by_hand() -> None:
    """Two windows of 10 kWh: 8 was expected and too little even at the upper end, and 12, too much at the lower."""
    came, expected, lower, upper, off = [10.0, 10.0], [8.0, 12.0], [0.0, 11.0], [9.0, 20.0], [3.0, 2.0]
    inside = [0.5, 1.0]
    found = scored(np.array([came, expected, lower, upper, off, inside]))
    assert (found.slots_coverage, found.width) == (0.75, 0.9)
    assert (found.windows, found.wape, found.slots_wape, found.coverage) == (2, 0.2, 0.25, 0)
    assert found.pinball_kwh == pytest.approx(((0.5 + 0.95) / 2 + (1 + 1) / 2 + (0.95 + 0.5) / 2) / 3)
    half = scored(np.array([came, [9.0, 11.0], [0.0, 0.0], upper, off, inside]))
    assert (half.wape, half.coverage) == (0.1, 0.5)
    text = as_text({("1 day", "seasonal_naive"): found, ("1 day", "linear"): half})
    assert [line.split("|")[-2].strip() for line in text.splitlines()[2:4]] == ["", "+50%"]
    reference = as_text({("1 day", "AutoTheta"): half}).splitlines()[2]
    assert [cell.strip() for cell in reference.split("|")[3:-1]] == ["2", "10.00%", "25.00%", "", "", "", "", ""]


def test_windows_that_are_not_known_from_end_to_end_are_left_out() -> None:
    kwh = np.full(4 * DAY, 2.0)
    kwh[3 * DAY + 5] = np.nan
    slots = slots_from(kwh)
    slots.covered_s[-1] = 899
    starts_s = MONDAY_S + (3 * DAY + np.array([0, 4, 8, 92])) * SLOT_S
    found = score(SeasonalNaive(), slots, starts_s, 4)
    assert found is not None
    assert found.windows == 2
    assert score(SeasonalNaive(), slots, starts_s[1:2], 4) is None
    assert score(SeasonalNaive(), slots, np.array([MONDAY_S + 50 * SLOT_S]), 4) is None


def demand() -> Slots:
    """Read a state's half-hours, each of them two slots."""
    if not DEMAND.exists():
        pytest.skip(f"{DEMAND.name} is not on this machine")
    rows = [line.split(",") for line in DEMAND.read_text("utf-8").splitlines()[1:]]
    return slots_from(np.repeat([float(value) / 2 for _, value in rows], 2), moment_us(rows[0][0]) // 10**6)


def test_on_real_demand_linear_beats_naive_by_a_quarter_and_its_intervals_hold() -> None:
    """48 days of the second year; ./power backtest has all of them."""
    slots = demand()
    starts_s = slots.start_s[0] + (366 * DAY + np.arange(0, 48) * 7 * (DAY + 4)) * SLOT_S
    naive, linear = (score(model, slots, starts_s, DAY) for model in (SeasonalNaive(), Linear()))
    assert naive is not None
    assert linear is not None
    assert linear.windows == 48
    assert linear.wape < 0.75 * naive.wape
    assert linear.slots_wape < 0.75 * naive.slots_wape
    assert 0.8 <= linear.coverage <= 0.99
