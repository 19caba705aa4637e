"""Reads the slots of an answer, one part of the window at a time, and converts them to pandas DataFrames.

The index of each DataFrame holds where its rows begin, in seconds since 1970. Its columns have their names in the
answer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from shared.domain.columns import F64, I64, Bools
from shared.domain.slots import SLOT_S, Slots, Window
from shared.store.port import EnergyReader, FleetSlots

PART = 10_000
"""How many slots are read at once: 104 days, about 30 ms of work and a few MB of memory."""

WITH_UNITS = {"value": "value_kwh", "sum": "sum_kwh", "avg": "avg_kwh"}
"""The names of the energy columns in formats that do not state the unit elsewhere."""


@dataclass(frozen=True, slots=True)
class Heading:
    """What an answer contains besides its rows.

    Attributes:
        members: JSON members that come before the rows.
        names: the columns, in order; a column that is not named here is in no answer. See `routes/energy.py`.
        tz: IANA name of the time zone that timestamps are written in.

    """

    members: Mapping[str, int | str]
    names: tuple[str, ...]
    tz: str


def read(store: EnergyReader, ship: int | None, window: Window) -> Iterator[Slots | FleetSlots]:
    """Read the slots of a ship, or of the fleet for None, in order, at most `PART` at once; skip stretches without."""
    at_s, end_s = window.start_s or 0, window.end_s
    while end_s is None or at_s < end_s:
        to_s = at_s + PART * SLOT_S
        part = Window(at_s, to_s if end_s is None else min(to_s, end_s))
        slots = store.fleet(part) if ship is None else store.slots(ship, part)
        at_s = to_s
        if len(slots.start_s):
            yield slots
        elif end_s is None or at_s < end_s:
            next_s = store.first_slot_s(ship, Window(at_s, end_s))
            if next_s is None:
                return
            at_s = next_s


def is_short(window: Window) -> bool:
    """Tell whether a window is read in one part."""
    return window.start_s is not None and window.end_s is not None and window.end_s - window.start_s <= PART * SLOT_S


def frame(slots: Slots | FleetSlots) -> pd.DataFrame:
    """Convert slots to rows.

    Returns:
        `covered_seconds` and `provisional`; of a ship also `value` in kWh; of the fleet also `sum` and `avg` in kWh,
        `ships` and `whole_ships`.

    """
    columns: dict[str, F64 | I64 | Bools] = {"covered_seconds": slots.covered_s, "provisional": slots.provisional}
    if isinstance(slots, FleetSlots):
        energy = {"sum": slots.kwh, "avg": slots.kwh / slots.ships}
        columns |= {**energy, "ships": slots.ships, "whole_ships": slots.whole}
    else:
        columns["value"] = slots.kwh
    return pd.DataFrame(columns, slots.start_s, copy=False)
