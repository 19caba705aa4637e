"""Covariates on a grid of slots: what is known of each slot of a history, and of those ahead."""

import numpy as np

from query_api.forecast.steps import DAY_S
from shared.domain.columns import F64
from shared.domain.covariates import Table
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import US_PER_S

LONGEST_US = 2 * DAY_S * US_PER_S
"""Nothing is known between rows that are farther apart."""


def known_in(table: Table, start_s: int, n: int) -> F64:
    """Return each covariate in the middle of n slots from `start_s` on, NaN where it is not known, float64[k, n]."""
    at_us = (start_s + SLOT_S * (np.arange(n, dtype=np.float64) + 0.5)) * US_PER_S
    found = [_values_at(at_us, table.moment_us.astype(np.float64), values) for values in table.values.values()]
    return np.array(found).reshape(len(found), n)


def _values_at(at_us: F64, moment_us: F64, values: F64) -> F64:
    """Return the values at these times, NaN where they are not known.

    They change evenly from row to row. After a row without a next one the value stays as long as the step to it was.
    """
    is_known = ~np.isnan(values)
    moment_us, values = moment_us[is_known], values[is_known]
    if not len(values):
        return np.full(len(at_us), np.nan)
    steps_us = np.diff(moment_us)
    goes_on = np.append(steps_us <= LONGEST_US, [False])
    ends_us = moment_us + np.insert(np.where(steps_us <= LONGEST_US, steps_us, 0.0), 0, 0.0)
    before = np.maximum(moment_us.searchsorted(at_us, side="right") - 1, 0)
    found = np.where(goes_on[before], np.interp(at_us, moment_us, values), values[before])
    return np.where((at_us >= moment_us[0]) & (goes_on[before] | (at_us < ends_us[before])), found, np.nan)
