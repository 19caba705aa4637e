"""The roll-ups in PostgreSQL: what a change of slots adds to each sum, in whole numbers, and the statements for it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from shared.domain.columns import F64, I64, Bools, starts
from shared.domain.slots import SLOT_S, Slots
from shared.domain.timestamps import US_PER_S
from shared.store.postgres.writer import Statement

DAY_S = 86_400
NWH_PER_KWH = 10**12
_FITS = 2.0**62
_MARKS = 2**39
_RANDOM = np.random.default_rng()

_NWH = f"u.whole * {NWH_PER_KWH} + u.rest"
_ADDED = "covered_us = r.covered_us + EXCLUDED.covered_us, nwh = r.nwh + EXCLUDED.nwh"
_FLEET = f"""
INSERT INTO fleet_energy AS r
    (partition, start_s, nwh, covered_us, ships, whole_ships, provisional_ships, estimated_us, mark)
SELECT %s, u.start_s, {_NWH}, u.covered_us, u.ships, u.whole_ships, u.provisional_ships, u.estimated_us, u.mark
FROM unnest(%s::bigint[], %s::numeric[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[])
    AS u (start_s, whole, rest, covered_us, ships, whole_ships, provisional_ships, estimated_us, mark)
ON CONFLICT (partition, start_s) DO UPDATE SET {_ADDED},
    ships = r.ships + EXCLUDED.ships, whole_ships = r.whole_ships + EXCLUDED.whole_ships,
    provisional_ships = r.provisional_ships + EXCLUDED.provisional_ships,
    estimated_us = r.estimated_us + EXCLUDED.estimated_us, mark = EXCLUDED.mark
"""
_SHIP_DAYS = f"""
INSERT INTO ship_day_energy AS r (partition, day_s, ship, nwh, covered_us, mark)
SELECT %s, u.day_s, u.ship, {_NWH}, u.covered_us, u.mark
FROM unnest(%s::bigint[], %s::bigint[], %s::numeric[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS u (day_s, ship, whole, rest, covered_us, mark)
ON CONFLICT (partition, day_s, ship) DO UPDATE SET {_ADDED}, mark = EXCLUDED.mark
"""
_SHIPS = f"""
INSERT INTO ship_energy AS r (partition, ship, nwh, covered_us, whole_slots)
SELECT %s, u.ship, {_NWH}, u.covered_us, u.whole_slots
FROM unnest(%s::bigint[], %s::numeric[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS u (ship, whole, rest, covered_us, whole_slots)
ON CONFLICT (partition, ship) DO UPDATE SET {_ADDED}, whole_slots = r.whole_slots + EXCLUDED.whole_slots
"""


def statements(partition: int, slots: Slots, was: Slots) -> Iterator[Statement]:
    """Return the statements that change the roll-ups as slots change; `was` are the same slots as they are stored."""
    change = _Change(slots, was)
    day_s = slots.start_s - slots.start_s % DAY_S
    for query, keys, counts, has_mark in (
        (_FLEET, (slots.start_s,), (change.ships, change.whole, change.provisional, change.estimated_us), True),
        (_SHIP_DAYS, (day_s, slots.ship), (), True),
        (_SHIPS, (slots.ship,), (change.whole,), False),
    ):
        order, first = _groups(keys)
        columns: list[Any] = [key[order[first]] for key in keys]
        columns += change.energy(order, first)
        columns += [np.add.reduceat(count[order], first) for count in (change.covered_us, *counts)]
        if has_mark:
            columns.append(_RANDOM.integers(-_MARKS, _MARKS, len(first)))
        yield query, (partition, *columns)


def _groups(keys: tuple[I64, ...]) -> tuple[I64, I64]:
    """Return the rows in the order of their keys, and where in it the groups of equal keys start."""
    order = np.lexsort(keys[::-1])
    return order, np.flatnonzero(starts(*[key[order] for key in keys]))


class _Change:
    """What each of n slots adds to the sums that it is part of."""

    def __init__(self, slots: Slots, was: Slots) -> None:
        is_there, was_there = slots.covered_s > 0, was.covered_s > 0
        self.covered_us: I64 = _us(slots.covered_s) - _us(was.covered_s)
        self.estimated_us: I64 = _us(slots.estimated_s) - _us(was.estimated_s)
        self.ships: I64 = _minus(is_there, was_there)
        self.whole: I64 = _minus(slots.covered_s >= SLOT_S, was.covered_s >= SLOT_S)
        self.provisional: I64 = _minus(slots.provisional & is_there, was.provisional & was_there)
        self._kwh: tuple[F64, F64] = np.where(is_there, slots.kwh, 0.0), np.where(was_there, was.kwh, 0.0)

    def energy(self, order: I64, first: I64) -> tuple[I64 | list[Decimal], I64]:
        """Return the sums of groups of rows: whole kWh, and the rests in nanowatt-hours."""
        now, was = self._kwh
        if np.abs(now).sum() + np.abs(was).sum() < _FITS:
            whole: I64 | list[Decimal] = np.add.reduceat((_whole(now) - _whole(was))[order], first)
        else:  # absurd values, but a ship may send them
            each = np.array([int(a) - int(b) for a, b in zip(now[order].tolist(), was[order].tolist(), strict=True)])
            whole = [Decimal(int(total)) for total in np.add.reduceat(each.astype(object), first)]
        return whole, np.add.reduceat((_rest_nwh(now) - _rest_nwh(was))[order], first)


def _us(seconds: F64) -> I64:
    return np.rint(seconds * US_PER_S).astype(np.int64)


def _minus(now: Bools, was: Bools) -> I64:
    return now.astype(np.int64) - was


def _whole(kwh: F64) -> I64:
    return np.trunc(kwh).astype(np.int64)


def _rest_nwh(kwh: F64) -> I64:
    return np.rint((kwh - np.trunc(kwh)) * NWH_PER_KWH).astype(np.int64)
