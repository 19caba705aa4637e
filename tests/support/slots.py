"""Slots of ships that are made up: with days and weeks in them, and with holes."""

import numpy as np

from shared.domain.columns import F64
from shared.domain.slots import SLOT_S, Slots

DAY = 96
MONDAY_S = 1_704_067_200  # 2024-01-01T00:00:00Z


def slots_from(kwh: F64, start_s: int = MONDAY_S, ship: int = 7) -> Slots:
    """Give consecutive slots, each known from end to end; NaN is a slot that is missing."""
    n = len(kwh)
    slots = Slots(
        np.full(n, ship, np.int64),
        start_s + SLOT_S * np.arange(n, dtype=np.int64),
        np.asarray(kwh, np.float64),
        np.full(n, float(SLOT_S)),
        np.zeros(n, np.bool_),
        np.zeros(n),
    )
    return slots[~np.isnan(slots.kwh)]


def weekly(days: int, seed: int = 1, noise: float = 1.0) -> F64:
    """Give a ship's days: mornings and evenings, quiet Saturdays and Sundays, a level that wanders from day to day."""
    rng = np.random.default_rng(seed)
    step = np.arange(days * DAY)
    of_day = 10 + 4 * np.sin(2 * np.pi * step / DAY - 2) + 2 * np.sin(4 * np.pi * step / DAY)
    level = np.zeros(days)
    for day in range(1, days):
        level[day] = 0.9 * level[day - 1] + rng.normal(0, noise)
    at_rest = np.where(step // DAY % 7 >= 5, 0.6, 1.0)
    wandering = np.interp(step, np.arange(days) * DAY, level)
    kwh: F64 = np.maximum(of_day * at_rest + wandering + rng.normal(0, 0.2 * noise, len(step)), 0.0)
    return kwh
