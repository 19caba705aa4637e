"""When a day is compared."""

import pytest

from query_api.daily import LATE_S, due_s
from query_api.forecast.steps import DAY_S

MIDNIGHT_S = 20_000 * DAY_S


@pytest.mark.parametrize(
    ("now_s", "end_s"),
    [
        (MIDNIGHT_S, MIDNIGHT_S - DAY_S),
        (MIDNIGHT_S + LATE_S - 0.5, MIDNIGHT_S - DAY_S),
        (MIDNIGHT_S + LATE_S, MIDNIGHT_S),
        (MIDNIGHT_S + DAY_S + LATE_S - 0.5, MIDNIGHT_S),
        (MIDNIGHT_S + DAY_S + LATE_S, MIDNIGHT_S + DAY_S),
    ],
)
def test_a_day_is_compared_an_hour_after_its_end(now_s: float, end_s: int) -> None:
    assert due_s(now_s) == end_s
