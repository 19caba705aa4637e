"""Slots on their way into an answer: columns by the names they have there, in the order of time, a part at a time."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.domain.readings import I64
from shared.domain.slots import SLOT_S, Slots, Window
from shared.store.port import EnergyReader, FleetSlots

PART = 10_000
"""How many slots' time is read at once: 104 days, some 30 ms of work, and some MB of memory."""

WITH_UNITS = {"value": "value_kwh", "sum": "sum_kwh", "avg": "avg_kwh"}
"""The names of columns where nothing else tells the unit."""

Column = NDArray[Any]
Ones = TypeVar("Ones", Slots, FleetSlots)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows of an answer.

    Attributes:
        start_s: where each slot or bucket begins, seconds since 1970, int64[n].
        offset_s: how far local time is ahead of UTC there, in seconds, int64[n]; None where UTC was asked for.
        columns: by name, each of length n: float64, int64 or bool.

    """

    start_s: I64
    offset_s: I64 | None
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.start_s)

    def __getitem__(self, rows: slice) -> Self:
        """Take some rows."""
        offset_s = None if self.offset_s is None else self.offset_s[rows]
        return replace(
            self,
            start_s=self.start_s[rows],
            offset_s=offset_s,
            columns={name: column[rows] for name, column in self.columns.items()},
        )

    def then(self, other: "Table") -> Self:
        """Put the rows of another one, in UTC as this one, after these."""
        return replace(
            self,
            start_s=np.concatenate([self.start_s, other.start_s]),
            columns={name: np.concatenate([column, other.columns[name]]) for name, column in self.columns.items()},
        )


@dataclass(frozen=True, slots=True)
class Heading:
    """What an answer says besides its rows.

    Attributes:
        members: of JSON, before the rows.
        names: of the columns, for there may be no rows.
        tz: the name of the zone that is shown.

    """

    members: Mapping[str, int | str]
    names: tuple[str, ...]
    tz: str


def ship_tables(store: EnergyReader, ship: int, window: Window) -> Iterator[Table]:
    """Give a ship's slots: `value` in kWh, `covered_seconds`, `provisional`."""
    return (ship_table(slots) for slots in _parts(store, ship, window, lambda part: store.slots(ship, part)))


def fleet_tables(store: EnergyReader, window: Window) -> Iterator[Table]:
    """Give the fleet's slots: `sum` and `avg` in kWh, `covered_seconds`, `provisional`, `ships`, `whole_ships`."""
    return (fleet_table(slots) for slots in _parts(store, None, window, store.fleet))


def is_short(window: Window) -> bool:
    """Tell whether a window is read in one part at most."""
    return window.start_s is not None and window.end_s is not None and window.end_s - window.start_s <= PART * SLOT_S


def ship_table(slots: Slots) -> Table:
    """See `ship_tables`."""
    columns = {"value": slots.kwh, "covered_seconds": slots.covered_s, "provisional": slots.provisional}
    return Table(slots.start_s, None, columns)


def fleet_table(slots: FleetSlots) -> Table:
    """See `fleet_tables`."""
    columns = {
        "sum": slots.kwh,
        "avg": slots.kwh / slots.ships,
        "covered_seconds": slots.covered_s,
        "provisional": slots.provisional,
        "ships": slots.ships,
        "whole_ships": slots.whole,
    }
    return Table(slots.start_s, None, columns)


def _parts(store: EnergyReader, ship: int | None, window: Window, read: Callable[[Window], Ones]) -> Iterator[Ones]:
    """Read a window from its start, never more than `PART` at once, and leap over what is empty."""
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
