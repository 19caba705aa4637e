"""Which slots new readings change, and to what. Pure: computed from the readings around them (see `reach.py`)."""

import numpy as np

from normalizer_worker.rule.normalize import latest_rows, slots_of
from shared.domain.columns import I64, Bools
from shared.domain.readings import Readings
from shared.domain.slots import END_S, SLOT_S, ShipWindows, Slots

MAX_SLOTS = END_S // SLOT_S


def merge(known: Readings, new: Readings) -> tuple[Readings, Bools, Readings | None]:
    """Add new readings to known ones.

    Returns:
        All that count, as `latest` returns them; which of these rows are new; and the known readings that are replaced,
        None if there are none. A repeat of a known reading is not new, nor is one that was sent earlier.

    """
    both = Readings.concat([new, known])  # of equal rows the last one stays: the known one
    rows = latest_rows(both)
    is_new = rows < len(new)
    if len(rows) - np.count_nonzero(is_new) == len(known):
        return both[rows], is_new, None
    is_replaced = np.ones(len(both), np.bool_)
    is_replaced[rows] = False
    return both[rows], is_new, known[is_replaced[len(new) :]]


def slots_within(readings: Readings, max_gap_us: int, windows: ShipWindows) -> Slots:
    """Return the slots of readings (as `latest` returns them) that are in the window of their ship."""
    slots = slots_of(readings, max_gap_us)
    at = windows.ship.searchsorted(slots.ship)
    return slots[(slots.start_s >= windows.start_s[at]) & (slots.start_s < windows.end_s[at])]


def changes(was: Slots, now: Slots) -> tuple[Slots, Slots]:
    """Compare slots as they are stored with what they should be; both are sorted by ship and time.

    Returns:
        The slots to store, with ``covered_s`` 0 where one has lost all its cover, and the same slots as they are
        stored, row by row, with ``covered_s`` 0 where nothing is.

    """
    ships = np.union1d(was.ship, now.ship)
    was_keys, now_keys = (ships.searchsorted(each.ship) * MAX_SLOTS + each.start_s // SLOT_S for each in (was, now))
    keys = np.union1d(was_keys, now_keys)
    ship, start_s = ships[keys // MAX_SLOTS], keys % MAX_SLOTS * SLOT_S
    before, after = (
        _aligned(each, keys.searchsorted(has), ship, start_s) for each, has in ((was, was_keys), (now, now_keys))
    )
    differs = (
        (before.kwh != after.kwh)
        | (before.covered_s != after.covered_s)
        | (before.provisional != after.provisional)
        | (before.estimated_s != after.estimated_s)
    )
    return after[differs], before[differs]


def _aligned(slots: Slots, at: I64, ship: I64, start_s: I64) -> Slots:
    """Return the slots of some ships and times, where `slots` are `at` these positions; the others are empty."""
    n = len(ship)
    all_of_them = Slots(ship, start_s, np.zeros(n), np.zeros(n), np.zeros(n, np.bool_), np.zeros(n))
    all_of_them.kwh[at], all_of_them.covered_s[at] = slots.kwh, slots.covered_s
    all_of_them.provisional[at], all_of_them.estimated_s[at] = slots.provisional, slots.estimated_s
    return all_of_them
