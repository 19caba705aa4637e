"""Ties, and the longest gap as it is set."""

import pytest

from normalizer_worker.rule.intervals import intervals
from normalizer_worker.rule.normalize import latest
from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_US
from tests.support.columns import as_columns
from tests.support.strategies import DAY_US, START_US


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        ((5.0, False, 2), (7.0, False, 3), 7.0),
        ((7.0, False, 2), (5.0, False, 3), 5.0),
        ((5.0, False, 2), (7.0, False, 2), 7.0),
        ((7.0, False, 2), (5.0, True, 2), 5.0),
        ((7.0, True, 2), (5.0, False, 3), 5.0),
    ],
    ids=[
        "later, greater",
        "later, less",
        "tie, greater",
        "tie, kWh though less",
        "later, kW though less",
    ],
)
def test_of_one_moment_the_reading_sent_last_counts_then_kwh_then_the_greater(
    one: tuple[float, bool, int], other: tuple[float, bool, int], kept: float
) -> None:
    """In whichever order they come: as the store has it."""
    for rows in ((one, other), (other, one)):
        assert latest(as_columns([(1, START_US, *row) for row in rows])).value.tolist() == [kept]


def test_a_silence_a_microsecond_longer_than_a_day_is_not_joined() -> None:
    """The default is 24 hours and no more."""
    assert DEFAULT_MAX_GAP_US == DAY_US
    rows = [(1, START_US, 6.0, False, 0), (1, START_US + DAY_US + 1, 6.0, False, 0)]
    assert intervals(as_columns(rows)).length_us.tolist() == [SLOT_US, SLOT_US]
