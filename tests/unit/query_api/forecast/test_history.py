"""The grid: what is missing is no zero, what is known in part counts in part, and too little is refused."""

import numpy as np
import pytest

from query_api.forecast.history import History, _carried, history_of
from shared.domain.errors import InvalidInput
from shared.domain.slots import SLOT_S, Slots
from tests.support.slots import DAY, MONDAY_S, slots_from, weekly

DAY_S = 86_400


def history(kwh: list[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> History:
    slots = slots_from(np.array(kwh, np.float64))
    return history_of(slots, int(slots.start_s[-1]) + SLOT_S)


@pytest.mark.parametrize("missing", [slice(200, 210), slice(300, 700), slice(97, 193)])
def test_missing_slots_are_filled_with_what_was_usual_and_weigh_nothing(missing: slice) -> None:
    kwh = np.tile(np.arange(DAY) + 1.0, 14)
    holed = kwh.copy()
    holed[missing] = np.nan
    found = history(holed)
    assert (found.weight[missing] == 0).all()
    assert np.delete(found.weight, np.r_[missing]).tolist() == [1.0] * (len(kwh) - (missing.stop - missing.start))
    assert (found.kwh == kwh).all()
    assert found.slots == len(kwh) - (missing.stop - missing.start)


def test_the_week_before_is_more_usual_than_the_day_before() -> None:
    kwh = weekly(21, noise=0)
    holed = kwh.copy()
    holed[15 * DAY : 16 * DAY] = np.nan
    assert history(holed).kwh == pytest.approx(kwh)


def test_nothing_is_filled_in_from_later_slots() -> None:
    kwh = weekly(21)
    kwh[-100:-50] = np.nan
    louder = kwh.copy()
    louder[-50:] *= 9
    assert (history(kwh).kwh[:-50] == history(louder).kwh[:-50]).all()


def test_a_slot_that_is_known_in_part_counts_as_if_all_of_it_were_so_and_weighs_less() -> None:
    slots = slots_from(np.full(2 * DAY, 4.0))
    slots.kwh[150], slots.covered_s[150] = 1.0, 225.0
    slots.kwh[160], slots.covered_s[160] = 1e-3, 1.0
    slots.provisional[-1] = True
    found = history_of(slots, MONDAY_S + 2 * DAY_S)
    assert (found.kwh == 4.0).all()
    assert [found.weight[at] for at in (149, 150, 160, 191)] == [1.0, 0.25, 0.0, 0.5]
    assert found.slots == 2 * DAY - 1


def test_slots_from_the_start_on_are_not_known() -> None:
    slots = slots_from(weekly(10))
    cut_s = MONDAY_S + 3 * DAY_S + 900
    found = history_of(slots, cut_s)
    assert (found.start_s, found.end_s, found.slots) == (MONDAY_S, cut_s, 3 * DAY + 1)


@pytest.mark.parametrize(("n", "cover_s", "hours"), [(0, 900, "0.00"), (95, 900, "23.75"), (190, 450, "23.75")])
def test_less_than_a_day_is_refused_with_how_much_there_is(n: int, cover_s: float, hours: str) -> None:
    slots = slots_from(np.ones(n)) if n else Slots.from_rows([])
    slots.covered_s[:] = cover_s
    with pytest.raises(InvalidInput) as caught:
        history_of(slots, MONDAY_S + 9 * DAY_S)
    assert [each.at for each in caught.value.problems] == ["start"]
    assert f"there are {hours} " in caught.value.problems[0].problem


def test_a_day_is_enough() -> None:
    assert history_of(slots_from(np.ones(DAY)), MONDAY_S + DAY_S).slots == DAY


def test_scales_of_ships_that_do_not_change() -> None:
    assert [(history([value] * DAY).spread, history([value] * DAY).scale) for value in (0.0, 0.1, 1e12)] == [
        (0, 1),
        (0, 0.1),
        (0, 1e12),
    ]
    assert history([0.0, 2.0] * DAY).spread == 1


def test_a_missing_slot_gets_the_last_number_at_the_same_position_of_a_period() -> None:
    """However many periods ago that was; what has none before it stays missing."""
    nan = float("nan")
    assert _carried(np.array([1, 2, nan, 4, nan, nan, 7]), 2).tolist() == [1, 2, 1, 4, 1, 4, 7]
    assert np.array_equal(_carried(np.array([nan, 5, nan, nan, 3]), 2), [nan, 5, nan, 5, 3], equal_nan=True)
