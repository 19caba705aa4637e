"""How answers are written: numbers and moments, and the rows of the top users."""

from typing import Any

import numpy as np

from shared.domain.readings import F64
from shared.domain.slots import SLOT_S, Window
from shared.store.port import ShipEnergy

Row = dict[str, Any]
DECIMALS = 6


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
    return f"{np.datetime64(start_s, 's')}Z"


def number(value: float) -> int | float:
    """Write whole numbers without a fraction, others with at most six decimals."""
    rounded = round(value, DECIMALS)
    return int(rounded) if rounded == int(rounded) else rounded


def numbers(values: F64) -> list[int | float]:
    """Do what `number` does for many."""
    rounded = np.round(values, DECIMALS)
    whole = rounded == np.trunc(rounded)
    if whole.all() and np.abs(rounded).max(initial=0) < 2**53:
        return rounded.astype(np.int64).tolist()  # type: ignore[no-any-return]
    return [int(value) if is_whole else value for value, is_whole in zip(rounded.tolist(), whole.tolist(), strict=True)]
