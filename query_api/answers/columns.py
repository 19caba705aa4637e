"""Reads the slots of an answer, one part of the window at a time, and converts them to tables.

A table is a dict of columns of equal length: `start_s`, where its rows begin in seconds since 1970, and the columns by
their names in the answer. It is no DataFrame, which adds 0.2 ms to an answer of one slot that takes 0.3 ms without.

A new column also concerns `_AGGREGATES` in `rollup.py` unless it is a sum, `_TYPES` in `parquet.py` unless it is a
float, and the schemas and `VERSION` in `routes/energy.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.domain.slots import SLOT_S, Slots, Window
from shared.store.port import EnergyReader, FleetSlots, SlotEnergy

Column = NDArray[Any]
Table = dict[str, Column]
SomeSlots = TypeVar("SomeSlots", Slots, FleetSlots, SlotEnergy)
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
    first_slot_s = partial(store.first_slot_s, ship)
    if ship is None:
        return _read(store.fleet, first_slot_s, window)
    return _read(partial(store.slots, ship), first_slot_s, window)


def read_energy(store: EnergyReader, ship: int, window: Window) -> Iterator[SlotEnergy]:
    """Read the energy of a ship's slots as `read` does."""
    return _read(partial(store.energy, ship), partial(store.first_slot_s, ship), window)


def _read(
    read_part: Callable[[Window], SomeSlots], first_slot_s: Callable[[Window], int | None], window: Window
) -> Iterator[SomeSlots]:
    at_s, end_s = window.start_s or 0, window.end_s
    while end_s is None or at_s < end_s:
        to_s = at_s + PART * SLOT_S
        part = Window(at_s, to_s if end_s is None else min(to_s, end_s))
        slots = read_part(part)
        at_s = to_s
        if len(slots.start_s):
            yield slots
        elif end_s is None or at_s < end_s:
            next_s = first_slot_s(Window(at_s, end_s))
            if next_s is None:
                return
            at_s = next_s


def is_short(window: Window) -> bool:
    """Tell whether a window is read in one part."""
    return window.start_s is not None and window.end_s is not None and window.end_s - window.start_s <= PART * SLOT_S


def table_of(slots: Slots | FleetSlots | SlotEnergy) -> Table:
    """Convert slots to a table.

    Returns:
        `start_s`, `covered_seconds`, `estimated_seconds` and `provisional`; of a ship also `value` in kWh; of the fleet
        also `sum` and `avg` in kWh, `ships` and `whole_ships`. Of `SlotEnergy` only `start_s` and `value`.

    """
    if isinstance(slots, SlotEnergy):
        return {"start_s": slots.start_s, "value": slots.kwh}
    table = {
        "start_s": slots.start_s,
        "covered_seconds": slots.covered_s,
        "estimated_seconds": slots.estimated_s,
        "provisional": slots.provisional,
    }
    if isinstance(slots, FleetSlots):
        energy = {"sum": slots.kwh, "avg": slots.kwh / slots.ships}
        return {**table, **energy, "ships": slots.ships, "whole_ships": slots.whole}
    return {**table, "value": slots.kwh}


def concat(tables: Sequence[Table]) -> Table:
    """Join tables with the same columns into one."""
    return {name: np.concatenate([each[name] for each in tables]) for name in tables[0]}
