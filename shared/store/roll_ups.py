"""What a change of slots adds to the sums over ships, days and all time, in whole numbers and columns. Pure.

A sum is the sum before, less what each slot was, and what it is now. Energy is counted in whole kWh and a rest in
nanowatt-hours (1 kWh is 10^12 of them), cover in microseconds: so sums are exact, and none drifts with corrections.
"""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from secrets import token_bytes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.domain.columns import F64, I64, starts
from shared.domain.slots import SLOT_S, Slots
from shared.domain.timestamps import US_PER_S

DAY_S = 86_400
NWH_PER_KWH = 10**12
_FITS = 2.0**62

Rounding = Callable[[F64], F64]
"""How a store rounds in SQL to whole numbers: what it adds up by itself must be the same to the last digit."""


def added(slots: Slots, was: Slots, rounded: Rounding, *, few: int = 0) -> Iterator[list[Any]]:
    """Return what is added to the roll-ups as slots change: columns with a row for each sum.

    They are those of the fleet's slots (start, whole kWh, rest in nWh, cover in us, ships, whole ships, provisional
    ships, estimated us, mark), of the ships' days (start, ship, whole kWh, rest, cover, mark) and of the ships (ship,
    whole kWh, rest, cover, whole slots). A mark is a random number. Whole kWh beyond 64 bits are a list of decimals.

    `was` are the same slots as they are stored, row by row. Up to `few` of them have rows of their own.
    """
    n, both = len(slots), Slots.concat([slots, was])

    def change(now_and_was: NDArray[Any]) -> I64:
        counts = now_and_was.astype(np.int64)
        return counts[:n] - counts[n:]

    is_there = both.covered_s > 0
    kwh = both.kwh * is_there
    whole_kwh, fits = np.trunc(kwh), np.abs(kwh).sum() < _FITS
    rest_nwh, covered_us = change(rounded((kwh - whole_kwh) * NWH_PER_KWH)), change(rounded(both.covered_s * US_PER_S))
    energy = (change(whole_kwh) if fits else _exactly(whole_kwh[:n], whole_kwh[n:]), rest_nwh, covered_us)
    whole, provisional = change(both.covered_s >= SLOT_S), change(both.provisional & is_there)
    of_fleet = (change(is_there), whole, provisional, change(rounded(both.estimated_s * US_PER_S)))
    for keys, counts, has_mark in (
        ((slots.start_s,), (*energy, *of_fleet), True),
        ((slots.start_s - slots.start_s % DAY_S, slots.ship), energy, True),
        ((slots.ship,), (*energy, whole), False),
    ):
        columns: list[Any] = [*keys, *counts] if len(slots) <= few else _summed(keys, counts)
        if not fits:
            columns[len(keys)] = [Decimal(each) for each in columns[len(keys)].tolist()]
        if has_mark:
            columns.append(np.frombuffer(token_bytes(8 * len(columns[0])), np.int64) >> 24)  # from -2^39 to 2^39
        yield columns


def _summed(keys: Sequence[I64], counts: Sequence[NDArray[Any]]) -> list[Any]:
    """Return a row for each key, with the sums of the rows that have it."""
    order = np.lexsort(keys[::-1])
    ordered = [key[order] for key in keys]
    first = np.flatnonzero(starts(*ordered))
    return [key[first] for key in ordered] + [np.add.reduceat(count[order], first) for count in counts]


def _exactly(now: F64, was: F64) -> NDArray[Any]:
    """Return differences as Python's numbers; a ship may send absurd values."""
    return np.array([int(a) - int(b) for a, b in zip(now.tolist(), was.tolist(), strict=True)], np.object_)
