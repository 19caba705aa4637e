"""Roll-ups of slots to hours, days and months.

pandas' `groupby` is not used: it takes 4 ms however few the rows are, and its float sums depend on where the parts of
an answer begin. Energy is added in whole kWh and whole nWh, which is exact.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from query_api.answers.calendar import Buckets
from query_api.answers.columns import Column, Table, concat
from shared.domain.columns import I64
from shared.domain.slots import SLOT_S, Window

PER_UNIT = 1e12
_AGGREGATES = {"provisional": np.logical_or, "ships": np.maximum, "whole_ships": np.minimum}
"""How the columns that are no sums are aggregated."""


def roll_up(parts: Iterable[Table], buckets: Buckets, window: Window) -> Iterator[Table]:
    """Aggregate slots to buckets; a bucket that the window cuts has the slots inside the window.

    `provisional` is true if any slot is, `ships` the greatest of any slot, and `whole_ships` the least, or 0 where a
    slot is missing. All other columns are sums. The new column `seconds` is the length of the bucket in the window.
    """
    return (_rolled_up(slots, buckets, window) for slots in _whole_buckets(parts, buckets))


def _whole_buckets(parts: Iterable[Table], buckets: Buckets) -> Iterator[Table]:
    """Cut parts anew where buckets begin; never join two parts with a bucket's length or more between them."""
    rest: Table | None = None
    end_s = 0
    for part in parts:
        if rest is not None and part["start_s"][0] >= end_s:
            yield rest
            rest = None
        joined = part if rest is None else concat([rest, part])
        start_s = joined["start_s"]
        begin_s, end_s = buckets.edges_s(int(start_s[-1]), int(start_s[-1])).tolist()
        cut = int(np.searchsorted(start_s, begin_s))
        if cut:
            yield {name: column[:cut] for name, column in joined.items()}
        rest = {
            name: column[cut:] for name, column in joined.items()
        }  # the next part may continue its bucket: a month of slots at most
    if rest is not None:
        yield rest


def _rolled_up(slots: Table, buckets: Buckets, window: Window) -> Table:
    slot_s = slots["start_s"]
    edges_s = buckets.edges_s(int(slot_s[0]), int(slot_s[-1]))
    bucket, first, n = np.unique(np.searchsorted(edges_s, slot_s, side="right"), return_index=True, return_counts=True)
    start_s = edges_s[bucket - 1]
    columns = {name: _aggregated(name, column, first) for name, column in slots.items() if name != "start_s"}
    columns["seconds"] = _seconds_inside(start_s, edges_s[bucket], window)
    if "whole_ships" in columns:
        columns["whole_ships"] = np.where(n * SLOT_S == columns["seconds"], columns["whole_ships"], 0)
    return {"start_s": start_s, **columns}


def _aggregated(name: str, values: Column, first: I64) -> Column:
    """Aggregate a column; each group of rows begins at one position in `first`."""
    if name in _AGGREGATES:
        return _AGGREGATES[name].reduceat(values, first)
    whole = np.trunc(values)  # floats hold whole numbers up to 2^53 exactly
    fractions = np.rint((values - whole) * PER_UNIT)
    return np.add.reduceat(whole, first) + np.add.reduceat(fractions, first) / PER_UNIT


def _seconds_inside(start_s: I64, end_s: I64, window: Window) -> I64:
    low_s = start_s if window.start_s is None else np.maximum(start_s, window.start_s)
    high_s = end_s if window.end_s is None else np.minimum(end_s, window.end_s)
    return high_s - low_s
