"""The answers of the queries, as what JSON is made of."""

from typing import Any

import numpy as np

from shared.readings import F64, I64
from shared.slots import SLOT_S, Slots, Window
from shared.store.port import FleetSlots, ShipEnergy

Row = dict[str, Any]
DECIMALS = 6


def ship_rows(slots: Slots, *, detail: bool) -> list[Row]:
    """Give one row per slot: its start and energy, and in detail what is known of it."""
    columns: dict[str, list[Any]] = {"datetime": _texts(slots.start_s), "value": _numbers(slots.kwh)}
    if detail:
        columns["covered_seconds"] = _numbers(slots.covered_s)
        columns["provisional"] = slots.provisional.tolist()
    return _rows(columns)


def fleet_rows(slots: FleetSlots, *, detail: bool) -> list[Row]:
    """Give one row per slot: its start, the sum and the average over its ships, and in detail how well it is known."""
    columns: dict[str, list[Any]] = {
        "datetime": _texts(slots.start_s),
        "sum": _numbers(slots.kwh),
        "avg": _numbers(slots.kwh / slots.ships),
    }
    if detail:
        columns["covered_seconds"] = _numbers(slots.covered_s)
        columns["provisional"] = slots.provisional.tolist()
        columns["ships"] = slots.ships.tolist()
        columns["whole_ships"] = slots.whole.tolist()
    return _rows(columns)


def top_rows(ships: list[ShipEnergy], window: Window | None, *, detail: bool) -> list[Row]:
    """Give one row per ship, and in detail the share of the window that its readings cover."""
    rows: list[Row] = [{"spaceship_id": each.ship, "consumption": number(each.kwh)} for each in ships]
    if detail and window is not None and window.start_s is not None and window.end_s is not None:
        length_s = max(window.end_s - window.start_s, SLOT_S)
        for row, each in zip(rows, ships, strict=True):
            row["covered_share"] = number(each.covered_s / length_s)
    return rows


def text(start_s: int) -> str:
    """Write a slot's start."""
    return _texts(np.array([start_s], np.int64))[0]


def number(value: float) -> int | float:
    """Write whole numbers without a fraction, others with at most six decimals."""
    rounded = round(value, DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded


def _texts(start_s: I64) -> list[str]:
    return [f"{each}Z" for each in start_s.astype("datetime64[s]").astype(str).tolist()]


def _numbers(values: F64) -> list[int | float]:
    rounded = np.round(values, DECIMALS)
    whole = rounded == np.trunc(rounded)
    if whole.all() and np.abs(rounded).max(initial=0) < 2**53:
        return rounded.astype(np.int64).tolist()  # type: ignore[no-any-return]
    return [int(value) if is_whole else value for value, is_whole in zip(rounded.tolist(), whole.tolist(), strict=True)]


def _rows(columns: dict[str, list[Any]]) -> list[Row]:
    names = tuple(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
