"""Slots summed up to hours, days and months."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np

from query_api.answers.calendar import Buckets, offsets_s
from query_api.answers.columns import Column, Table
from shared.domain.readings import F64, I64
from shared.domain.slots import SLOT_S, Window
from shared.domain.timestamps import US_PER_S

NWH_PER_KWH = 1e12


def in_buckets(tables: Iterable[Table], buckets: Buckets, window: Window, *, in_utc: bool) -> Iterator[Table]:
    """Sum slots up, and name the buckets by local time unless `in_utc`.

    A bucket that the window cuts has what lies inside of it.

    Columns become sums (of energy, of averages, of cover), `provisional` whether any slot is, `ships` the most that any
    slot has and `whole_ships` the fewest, 0 where a slot is missing. `seconds` is new: how much of the bucket lies in
    the window, 900 s to a slot.
    """
    summed = (_summed(slots, buckets, window) for slots in _cut(tables, buckets))
    return summed if in_utc else in_local_time(summed, buckets.zone)


def in_local_time(tables: Iterable[Table], zone: ZoneInfo) -> Iterator[Table]:
    """Say how far local time is ahead of UTC."""
    return (replace(table, offset_s=offsets_s(zone, table.start_s)) for table in tables)


def _cut(tables: Iterable[Table], buckets: Buckets) -> Iterator[Table]:
    """Cut slots where buckets end, and where one lies far behind: what lies between would have to be laid out."""
    rest: Table | None = None
    end_s = 0
    for table in tables:
        if rest is not None and table.start_s[0] >= end_s:
            yield rest
            rest = None
        joined = table if rest is None else rest.then(table)
        begin_s, end_s = buckets.edges_s(int(joined.start_s[-1]), int(joined.start_s[-1])).tolist()
        cut = int(np.searchsorted(joined.start_s, begin_s))
        if cut:
            yield joined[:cut]
        rest = joined[cut:]  # its bucket may go on in the next part: a month of slots at most
    if rest is not None:
        yield rest


def _summed(slots: Table, buckets: Buckets, window: Window) -> Table:
    edges_s = buckets.edges_s(int(slots.start_s[0]), int(slots.start_s[-1]))
    which = np.searchsorted(edges_s, slots.start_s, side="right") - 1
    first = np.flatnonzero(np.append([True], which[1:] != which[:-1]))
    which = which[first]
    start_s, end_s = edges_s[which], edges_s[which + 1]
    seconds = _inside(start_s, end_s, window)
    columns = {name: _SUMS[name](column, first) for name, column in slots.columns.items()}
    if "whole_ships" in columns:
        n = np.diff(np.append(first, len(slots)))
        columns["whole_ships"] = np.where(n * SLOT_S == seconds, columns["whole_ships"], 0)
    return Table(start_s, None, {**columns, "seconds": seconds})


def _inside(start_s: I64, end_s: I64, window: Window) -> I64:
    low_s = start_s if window.start_s is None else np.maximum(start_s, window.start_s)
    high_s = end_s if window.end_s is None else np.minimum(end_s, window.end_s)
    return high_s - low_s


def _energy(kwh: F64, first: I64) -> F64:
    """Sum in whole kWh and whole nWh: exact, as floats hold such numbers up to 2^53, however it was cut."""
    whole = np.trunc(kwh)
    rest: F64 = np.add.reduceat(np.rint((kwh - whole) * NWH_PER_KWH), first) / NWH_PER_KWH
    return np.add.reduceat(whole, first) + rest


def _seconds(covered_s: F64, first: I64) -> F64:
    summed: F64 = np.add.reduceat(np.rint(covered_s * US_PER_S), first) / US_PER_S
    return summed


def _any(marks: Column, first: I64) -> Column:
    return np.logical_or.reduceat(marks, first)


def _most(counts: Column, first: I64) -> Column:
    return np.maximum.reduceat(counts, first)


def _fewest(counts: Column, first: I64) -> Column:
    return np.minimum.reduceat(counts, first)


_SUMS = {
    "value": _energy,
    "sum": _energy,
    "avg": _energy,
    "covered_seconds": _seconds,
    "provisional": _any,
    "ships": _most,
    "whole_ships": _fewest,
}
