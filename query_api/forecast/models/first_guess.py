"""Yesterday or last week: what a ship's last seven days tell, as long as no past forecasts do."""

import numpy as np

from query_api.forecast.days import WEEK_DAYS, Days
from query_api.forecast.steps import DAY_S
from shared.domain.columns import F64
from shared.domain.slots import SLOT_S

NEXT_DAY, LATER = 0.55, 0.9
"""The weight of last week for the next day and for later ones, if the days tell nothing."""
ALIKE = 2.0
"""Last week counts less where days next to each other differ less than days far apart: by this factor, or more."""
FAR = 4
"""Days that are so many days apart, or more, are no more alike than any."""
MONDAY_DAY = 4
"""A Monday, in days since 1970."""
WORKDAYS = 5
UNCLEAR, CLEAR = 3.0, 6.0
"""From which t on weekends seem to differ, and from which they surely do."""


def of_last_week(days: Days, day: int) -> F64:
    """Return the weight of last week after each day, float64[n], for a day ahead (0: the next one).

    The rest is the weight of yesterday. Without a week of history it is 0.

    For the next day, last week counts less if each day is like the one before it: the ship keeps a level for days. For
    any day it counts more if both days of the weekend (UTC) differ from the other five by far more than these do among
    each other: by the t of Student's test.
    """
    found = np.zeros(len(days))
    if len(days) >= WEEK_DAYS:
        weekend = np.clip((_t_of_weekend(days) - UNCLEAR) / (CLEAR - UNCLEAR), 0.0, 1.0)
        weight = LATER if day else NEXT_DAY * np.minimum(ALIKE * _change_of_a_day(days), 1.0)
        found[WEEK_DAYS - 1 :] = weight + (1 - weight) * weekend
    return found


def _t_of_weekend(days: Days) -> F64:
    """Return how much weekend and other days differ in the week up to each day, float64[n - 6]."""
    weekday = ((days.start_s + SLOT_S * np.arange(days.kwh.size)) // DAY_S - MONDAY_DAY) % WEEK_DAYS
    row = np.repeat(np.arange(len(days)), days.kwh.shape[1])
    totals = np.bincount(row * WEEK_DAYS + weekday, days.kwh.ravel(), len(days) * WEEK_DAYS).reshape(-1, WEEK_DAYS)
    weeks = np.lib.stride_tricks.sliding_window_view(totals, WEEK_DAYS, axis=0).sum(axis=2)
    work, weekend = weeks[:, :WORKDAYS], weeks[:, WORKDAYS:]
    apart = np.abs(work.mean(axis=1) - weekend.mean(axis=1))
    squares = work.var(axis=1) * work.shape[1] + weekend.var(axis=1) * weekend.shape[1]
    error = np.sqrt(squares / (WEEK_DAYS - 2) * (1 / work.shape[1] + 1 / weekend.shape[1]))
    t: F64 = np.divide(apart, error, out=np.where(apart > 0, np.inf, 0.0), where=error > 0)
    return t


def _change_of_a_day(days: Days) -> F64:
    """Return how much days next to each other differ, relative to days far apart, in each week, float64[n - 6]."""
    weeks = np.lib.stride_tricks.sliding_window_view(days.kwh.sum(axis=1), WEEK_DAYS)
    one, other = np.triu_indices(WEEK_DAYS, 1)
    differ = np.abs(weeks[:, one] - weeks[:, other])
    near, far = (differ[:, which].mean(axis=1) for which in (other - one == 1, other - one >= FAR))
    change: F64 = np.divide(near, far, out=np.ones_like(near), where=far > 0)
    return change
