"""Which slots do new readings change, and to what? Pure, from the readings around them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from normalizer_worker.rule.normalize import energy, intervals, latest_rows
from shared.domain.readings import F64, I64, Bools, Readings
from shared.domain.slots import SLOT_S, Slots, Window

MAX_SLOTS = 2**24
"""More slots than the years 1970 to 2199 have."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """Slots that differ, row by row.

    Attributes:
        slots: what is to be stored; ``covered_s`` 0 where a slot has lost all its cover.
        was: what is stored of them; ``covered_s`` 0 where nothing is.

    """

    slots: Slots
    was: Slots


def merge(known: Readings, new: Readings) -> tuple[Readings, Bools]:
    """Put new readings among known ones.

    Returns:
        All of them as `latest` gives them, and which of these rows are new: a reading that says again what is known,
        or something older, is not.

    """
    both = Readings.concat([new, known])  # of equal ones the last stays: the known
    rows = latest_rows(both)
    return both[rows], rows < len(new)


def slots_within(readings: Readings, max_gap_us: int, windows: Mapping[int, Window]) -> Slots:
    """Give the slots of readings, as `latest` gives them, that lie in their ship's window, by ship and time."""
    slots = energy(readings, intervals(readings, max_gap_us))
    ships = sorted(windows)
    first = np.array([windows[ship].start_s or 0 for ship in ships], np.int64)
    ends = (windows[ship].end_s for ship in ships)
    end = np.array([MAX_SLOTS * SLOT_S if each is None else each for each in ends], np.int64)
    at = np.searchsorted(ships, slots.ship)
    return slots[(slots.start_s >= first[at]) & (slots.start_s < end[at])]


def changes(was: Slots, now: Slots) -> Changes:
    """Compare what is stored of some slots with what they should be; both by ship and time."""
    ships = np.union1d(was.ship, now.ship)
    was_keys, now_keys = (np.searchsorted(ships, each.ship) * MAX_SLOTS + each.start_s // SLOT_S for each in (was, now))
    keys = np.union1d(was_keys, now_keys)
    before, after = _aligned(was, was_keys, keys), _aligned(now, now_keys, keys)
    differs = (before[0] != after[0]) | (before[1] != after[1]) | (before[2] != after[2])
    ship, start_s = ships[keys // MAX_SLOTS], keys % MAX_SLOTS * SLOT_S
    return Changes(Slots(ship, start_s, *after)[differs], Slots(ship, start_s, *before)[differs])


def _aligned(slots: Slots, has: I64, wanted: I64) -> tuple[F64, F64, Bools]:
    """Give energy, cover and mark of the wanted slots; nothing, where they are not among those there are."""
    at = np.searchsorted(wanted, has)
    kwh, covered_s, provisional = np.zeros(len(wanted)), np.zeros(len(wanted)), np.zeros(len(wanted), np.bool_)
    kwh[at], covered_s[at], provisional[at] = slots.kwh, slots.covered_s, slots.provisional
    return kwh, covered_s, provisional
