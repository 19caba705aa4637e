"""Reads the slots of an answer as pandas DataFrames, one part of the window at a time, in the order of time.

The index of each DataFrame holds where its rows begin, in UTC. Its columns have their names in the answer.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from shared.domain.columns import I64
from shared.domain.slots import SLOT_S, Slots, Window
from shared.store.port import EnergyReader, FleetSlots

PART = 10_000
"""How many slots are read at once: 104 days, about 30 ms of work and a few MB of memory."""

WITH_UNITS = {"value": "value_kwh", "sum": "sum_kwh", "avg": "avg_kwh"}
"""The names of the energy columns in formats that do not state the unit elsewhere."""

Part = TypeVar("Part", Slots, FleetSlots)


@dataclass(frozen=True, slots=True)
class Heading:
    """What an answer contains besides its rows.

    Attributes:
        members: JSON members that come before the rows.
        names: the columns, in order; an answer without rows has them too.
        tz: IANA name of the time zone that timestamps are written in.

    """

    members: Mapping[str, int | str]
    names: tuple[str, ...]
    tz: str


def utc_index(start_s: I64) -> pd.DatetimeIndex:
    """Return seconds since 1970 as an index of timestamps in UTC."""
    return pd.DatetimeIndex(start_s.astype("datetime64[s]"), tz="UTC")


def starts_s(rows: pd.DataFrame) -> I64:
    """Return where rows begin, in seconds since 1970."""
    return rows.index.to_numpy("datetime64[s]").astype("int64")


def ship_rows(store: EnergyReader, ship: int, window: Window) -> Iterator[pd.DataFrame]:
    """Read a ship's slots: `value` in kWh, `covered_seconds`, `provisional`."""
    return (ship_frame(slots) for slots in _parts(store, ship, window, lambda part: store.slots(ship, part)))


def fleet_rows(store: EnergyReader, window: Window) -> Iterator[pd.DataFrame]:
    """Read the fleet's slots: `sum` and `avg` in kWh, `covered_seconds`, `provisional`, `ships`, `whole_ships`."""
    return (fleet_frame(slots) for slots in _parts(store, None, window, store.fleet))


def is_short(window: Window) -> bool:
    """Tell whether a window is read in one part."""
    return window.start_s is not None and window.end_s is not None and window.end_s - window.start_s <= PART * SLOT_S


def ship_frame(slots: Slots) -> pd.DataFrame:
    """Convert slots of one ship; see `ship_rows`."""
    columns = {"value": slots.kwh, "covered_seconds": slots.covered_s, "provisional": slots.provisional}
    return pd.DataFrame(columns, utc_index(slots.start_s))


def fleet_frame(slots: FleetSlots) -> pd.DataFrame:
    """Convert slots of the fleet; see `fleet_rows`."""
    columns = {
        "sum": slots.kwh,
        "avg": slots.kwh / slots.ships,
        "covered_seconds": slots.covered_s,
        "provisional": slots.provisional,
        "ships": slots.ships,
        "whole_ships": slots.whole,
    }
    return pd.DataFrame(columns, utc_index(slots.start_s))


def _parts(store: EnergyReader, ship: int | None, window: Window, read: Callable[[Window], Part]) -> Iterator[Part]:
    """Read a window from its start, at most `PART` slots at once; skip stretches without slots."""
    at_s, end_s = window.start_s or 0, window.end_s
    while end_s is None or at_s < end_s:
        to_s = at_s + PART * SLOT_S
        part = read(Window(at_s, to_s if end_s is None else min(to_s, end_s)))
        at_s = to_s
        if len(part.start_s):
            yield part
        elif end_s is None or at_s < end_s:
            next_s = store.first_slot_s(ship, Window(at_s, end_s))
            if next_s is None:
                return
            at_s = next_s
