"""Roll-ups of slots to hours, days and months.

Energy is added in whole kWh and whole nWh, because a float sum, such as that of pandas, depends on where parts begin.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from query_api.answers.calendar import Buckets
from query_api.answers.columns import starts_s, utc_index
from shared.domain.readings import I64
from shared.domain.slots import SLOT_S, Window

PER_UNIT = 1e12
_MERGES = {"provisional": "any", "ships": "max", "whole_ships": "min"}
"""How the columns that are no sums are aggregated."""


def roll_up(parts: Iterable[pd.DataFrame], buckets: Buckets, window: Window) -> Iterator[pd.DataFrame]:
    """Aggregate slots to buckets; a bucket that the window cuts has the slots inside the window.

    `provisional` is true if any slot is, `ships` the greatest of any slot, and `whole_ships` the least, or 0 where a
    slot is missing. All other columns are sums. The new column `seconds` is the length of the bucket in the window.
    """
    return (_rolled_up(slots, buckets, window) for slots in _whole_buckets(parts, buckets))


def _whole_buckets(parts: Iterable[pd.DataFrame], buckets: Buckets) -> Iterator[pd.DataFrame]:
    """Cut parts anew where buckets begin; never join two parts with a bucket's length or more between them."""
    rest: pd.DataFrame | None = None
    end_s = 0
    for part in parts:
        if rest is not None and starts_s(part)[0] >= end_s:
            yield rest
            rest = None
        joined = part if rest is None else pd.concat([rest, part])
        start_s = starts_s(joined)
        begin_s, end_s = buckets.edges_s(int(start_s[-1]), int(start_s[-1])).tolist()
        cut = int(np.searchsorted(start_s, begin_s))
        if cut:
            yield joined[:cut]
        rest = joined[cut:]  # the next part may continue its bucket: a month of slots at most
    if rest is not None:
        yield rest


def _rolled_up(slots: pd.DataFrame, buckets: Buckets, window: Window) -> pd.DataFrame:
    slot_s = starts_s(slots)
    edges_s = buckets.edges_s(int(slot_s[0]), int(slot_s[-1]))
    of_slot = np.searchsorted(edges_s, slot_s, side="right") - 1
    groups = slots.groupby(of_slot)
    rows = pd.DataFrame(
        {
            name: groups[name].agg(_MERGES[name]) if name in _MERGES else _exact_sum(slots[name], of_slot)
            for name in slots.columns
        }
    )
    of_row = rows.index.to_numpy(np.int64)
    rows["seconds"] = _seconds_inside(edges_s[of_row], edges_s[of_row + 1], window)
    if "whole_ships" in rows:
        rows["whole_ships"] = rows["whole_ships"].where(groups.size() * SLOT_S == rows["seconds"], 0)
    return rows.set_index(utc_index(edges_s[of_row]))


def _exact_sum(values: pd.Series, groups: I64) -> pd.Series:
    """Add whole numbers and fractions apart, these as multiples of 1e-12: exact, as floats hold integers to 2^53."""
    whole = np.trunc(values)
    parts = pd.DataFrame({"whole": whole, "fraction": np.rint((values - whole) * PER_UNIT)})
    sums = parts.groupby(groups).sum()
    return sums["whole"] + sums["fraction"] / PER_UNIT


def _seconds_inside(start_s: I64, end_s: I64, window: Window) -> I64:
    low_s = start_s if window.start_s is None else np.maximum(start_s, window.start_s)
    high_s = end_s if window.end_s is None else np.minimum(end_s, window.end_s)
    return high_s - low_s
