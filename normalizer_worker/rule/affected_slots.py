"""Which slots new readings change, and to what. Pure: computed from the readings around them (see `reach.py`)."""

import numpy as np

from normalizer_worker.rule.normalize import energy, intervals, latest_rows
from shared.domain.columns import F64, I64, Bools
from shared.domain.readings import Readings
from shared.domain.slots import END_S, SLOT_S, ShipWindows, Slots

MAX_SLOTS = END_S // SLOT_S


def merge(known: Readings, new: Readings) -> tuple[Readings, Bools]:
    """Add new readings to known ones.

    Returns:
        All that count, as `latest` returns them, and which of these rows are new. A repeat of a known reading is not
        new, nor is one that was sent earlier.

    """
    both = Readings.concat([new, known])  # of equal rows the last one stays: the known one
    rows = latest_rows(both)
    return both[rows], rows < len(new)


def slots_within(readings: Readings, max_gap_us: int, windows: ShipWindows) -> Slots:
    """Return the slots of readings (as `latest` returns them) that are in the window of their ship."""
    slots = energy(readings, intervals(readings, max_gap_us))
    at = np.searchsorted(windows.ship, slots.ship)
    return slots[(slots.start_s >= windows.start_s[at]) & (slots.start_s < windows.end_s[at])]


def changes(was: Slots, now: Slots) -> tuple[Slots, Slots]:
    """Compare slots as they are stored with what they should be; both are sorted by ship and time.

    Returns:
        The slots to store, with ``covered_s`` 0 where one has lost all its cover, and the same slots as they are
        stored, row by row, with ``covered_s`` 0 where nothing is.

    """
    ships = np.union1d(was.ship, now.ship)
    was_keys, now_keys = (np.searchsorted(ships, each.ship) * MAX_SLOTS + each.start_s // SLOT_S for each in (was, now))
    keys = np.union1d(was_keys, now_keys)
    before, after = _aligned(was, was_keys, keys), _aligned(now, now_keys, keys)
    differs = (before[0] != after[0]) | (before[1] != after[1]) | (before[2] != after[2])
    ship, start_s = ships[keys // MAX_SLOTS], keys % MAX_SLOTS * SLOT_S
    return Slots(ship, start_s, *after)[differs], Slots(ship, start_s, *before)[differs]


def _aligned(slots: Slots, has: I64, wanted: I64) -> tuple[F64, F64, Bools]:
    """Return energy, cover and the provisional flag of the wanted slots; zeros for those that are not in `slots`."""
    at = np.searchsorted(wanted, has)
    kwh, covered_s, provisional = np.zeros(len(wanted)), np.zeros(len(wanted)), np.zeros(len(wanted), np.bool_)
    kwh[at], covered_s[at], provisional[at] = slots.kwh, slots.covered_s, slots.provisional
    return kwh, covered_s, provisional
