"""The energy of several ships together as one series, which is forecast like that of a ship."""

import numpy as np

from query_api.forecast.steps import DAY
from shared.domain.columns import F64
from shared.domain.slots import SLOT_S, Slots, Window
from shared.store.port import FleetSlots

LEAST_PRESENT = 0.9
"""A slot counts if it has so much of the cover of all ships that were there within the day before it."""
ROUNDING = 1e-9
NOBODY = 0


class Series:
    """Sums per slot on a grid; ships are added and removed one by one."""

    def __init__(self, window: Window) -> None:
        """Start without any energy in a window."""
        self._start_s, end_s = window.bounds_s()
        n = (end_s - self._start_s) // SLOT_S
        self._ships = np.zeros(n, np.int64)
        self._kwh, self._covered_s, self._largest_kwh = np.zeros(n), np.zeros(n), np.zeros(n)
        self._provisional = np.zeros(n, np.int64)

    def add(self, slots: Slots | FleetSlots, sign: int = 1) -> None:
        """Add what a ship or a fleet used, or with the sign -1 remove it."""
        at = (slots.start_s - self._start_s) // SLOT_S
        self._kwh[at] += sign * slots.kwh
        self._covered_s[at] += sign * slots.covered_s
        self._ships[at] += sign * (slots.ships if isinstance(slots, FleetSlots) else 1)
        self._provisional[at] += slots.provisional
        self._largest_kwh[at] = np.maximum(self._largest_kwh[at], np.abs(slots.kwh))

    def slots(self) -> Slots:
        """Return the sums where hardly a ship is missing; `covered_s` is the mean of the ships."""
        most = np.lib.stride_tricks.sliding_window_view(np.pad(self._ships, (DAY - 1, 0)), DAY).max(axis=1, initial=0)
        share: F64 = self._covered_s / np.maximum(most, 1) / SLOT_S
        at = np.flatnonzero((self._ships > 0) & (share >= LEAST_PRESENT))
        kwh = np.where(np.abs(self._kwh) > ROUNDING * self._largest_kwh, self._kwh, 0.0)
        return Slots(
            np.full(len(at), NOBODY, np.int64),
            self._start_s + at * SLOT_S,
            kwh[at],
            np.minimum(share[at], 1.0) * SLOT_S,
            self._provisional[at] > 0,
            np.zeros(len(at)),
        )
