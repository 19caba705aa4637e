"""Which slots do new readings change, and to what? Pure, from the readings around them."""

import numpy as np

from normalizer_worker.normalize import Intervals, cut, energy, intervals, latest
from shared.readings import I64, Bools, Readings
from shared.slots import SLOT_S, SLOT_US, Slots

MAX_SLOTS = 2**24
"""More slots than the years 1970 to 2199 have."""


def recompute(known: Readings, new: Readings, max_gap_us: int) -> tuple[Readings, Slots]:
    """Compute the slots that new readings change.

    Args:
        known: the stored readings around the new ones, as the store's `neighbourhoods` gives them.
        new: readings as `latest` gives them, those of one ship no further apart than `max_gap_us`.
        max_gap_us: see `normalize`.

    Returns:
        The known readings with the new ones among them, and the slots to store. A slot that has lost all its cover
        has ``covered_s`` 0. Readings that are known already change no slot.

    """
    merged = latest(Readings.concat([known, new]))
    was, now = intervals(known, max_gap_us), intervals(merged, max_gap_us)
    known_changed, merged_changed = _differences(known, was, merged, now)
    ships = np.unique(new.ship)
    first, last = _touched(
        ships,
        Readings.concat([known[known_changed], merged[merged_changed]]),
        np.concatenate([was.length_us[known_changed], now.length_us[merged_changed]]),
    )
    slots = energy(merged, now)
    at, slot = np.searchsorted(ships, slots.ship), slots.start_s // SLOT_S
    slots = slots[(slot >= first[at]) & (slot <= last[at])]
    return merged, Slots.concat([slots, _lost(ships, known[known_changed], was.length_us[known_changed], slots)])


def _differences(known: Readings, was: Intervals, merged: Readings, now: Intervals) -> tuple[Bools, Bools]:
    """Find the rows on either side whose interval the other side has not got just so."""
    both = Readings.concat([known, merged])
    length_us = np.concatenate([was.length_us, now.length_us])
    newest = np.concatenate([was.newest, now.newest])
    order = np.lexsort((both.moment_us, both.ship))
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for column in (both.ship, both.moment_us, both.value, both.is_energy, length_us, newest):
        same &= column[order[1:]] == column[order[:-1]]
    changed = np.ones(len(order), np.bool_)
    changed[order[1:][same]] = False
    changed[order[:-1][same]] = False
    return changed[: len(known)], changed[len(known) :]


def _touched(ships: I64, changed: Readings, length_us: I64) -> tuple[I64, I64]:
    """Give each ship's first and last slot that a changed interval overlaps; first > last where there is none."""
    first, last = np.full(len(ships), MAX_SLOTS), np.full(len(ships), -1)
    at = np.searchsorted(ships, changed.ship)
    np.minimum.at(first, at, changed.moment_us // SLOT_US)
    np.maximum.at(last, at, (changed.moment_us + length_us - 1) // SLOT_US)
    return first, last


def _lost(ships: I64, changed: Readings, length_us: I64, slots: Slots) -> Slots:
    """Give the slots that changed intervals covered and no interval covers any more, with no energy and no cover."""
    row, slot, _ = cut(changed.moment_us, length_us)
    had = np.searchsorted(ships, changed.ship[row]) * MAX_SLOTS + slot
    has = np.searchsorted(ships, slots.ship) * MAX_SLOTS + slots.start_s // SLOT_S
    lost = np.setdiff1d(had, has)
    n = len(lost)
    return Slots(ships[lost // MAX_SLOTS], lost % MAX_SLOTS * SLOT_S, np.zeros(n), np.zeros(n), np.zeros(n, np.bool_))
