"""The port in memory: a store for tests, and the shortest account of what the port means.

It keeps every promise but durability. There are no roll-ups: sums are computed with every call.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from itertools import groupby
from math import fsum
from operator import itemgetter
from typing import NamedTuple

from shared.domain.covariates import Covariates
from shared.domain.deletions import DeletionRow, Deletions
from shared.domain.readings import ReadingRanges, ReadingRow, Readings
from shared.domain.slots import NOWHEN, SLOT_S, ShipWindows, Slots, Window
from shared.domain.timestamps import US_PER_S
from shared.store.port import NEWEST, FleetSlots, ShipEnergy, ShipHistory, ShipPage, SlotEnergy


class _Slot(NamedTuple):
    """One row of `Slots`."""

    ship: int
    start_s: int
    kwh: float
    covered_s: float
    provisional: bool
    estimated_s: float


class MemoryStore:
    """Both halves of the port; safe to use from several threads."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lock = threading.RLock()
        self._readings: defaultdict[int, dict[int, ReadingRow]] = defaultdict(dict)
        """Under ship and `moment_us`."""
        self._slots: defaultdict[int, dict[int, _Slot]] = defaultdict(dict)
        """Under ship and `start_s`, only those with cover."""
        self._changes = 0
        """How many times a slot has been changed."""
        self._last_change: dict[tuple[int, int], int] = {}
        """The number of the last change of each slot, also of removed ones, under (ship, `start_s`)."""
        self._deletions: dict[int, list[DeletionRow]] = {}
        """Under the ship, by time."""
        self._covariates: dict[int, Covariates] = {}
        self._pinned: dict[str, str] = {}

    def close(self) -> None:
        """Do nothing."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `ReadingStore`. Other threads wait, readers too."""
        with self._lock:
            before = deepcopy((self._readings, self._slots, self._deletions, self._covariates))
            try:
                yield
            except BaseException:
                self._readings, self._slots, self._deletions, self._covariates = before
                raise

    def readings_around(self, ranges: ReadingRanges) -> Readings:
        """See `ReadingStore`."""
        rows: list[ReadingRow] = []
        with self._lock:
            for ship, start_us, end_us, before, after in ranges.rows():
                own = [row for _, row in sorted(self._readings[ship].items())]
                earlier = [row for row in own if row[1] < start_us]
                later = [row for row in own if row[1] >= end_us]
                rows += earlier[max(len(earlier) - before, 0) :]
                rows += own[len(earlier) : len(own) - len(later)]
                rows += later[:after]
        return Readings.from_rows(rows)

    def stored_slots(self, windows: ShipWindows) -> Slots:
        """See `ReadingStore`."""
        with self._lock:
            return Slots.from_rows(
                slot for ship, start_s, end_s in windows.rows() for slot in self._within(ship, Window(start_s, end_s))
            )

    def put_readings(self, readings: Readings, replaced: Readings | None = None) -> None:  # noqa: ARG002  # rows are replaced whole
        """See `ReadingStore`."""
        for row in readings.rows():
            self._readings[row[0]][row[1]] = row

    def remove_readings(self, ship: int, start_us: int, end_us: int) -> None:
        """See `ReadingStore`."""
        for moment_us in [each for each in self._readings[ship] if start_us <= each < end_us]:
            del self._readings[ship][moment_us]

    def put_deletions(self, deletions: Deletions) -> None:
        """See `ReadingStore`."""
        for ship, own in groupby(deletions.rows(), key=itemgetter(0)):
            self._deletions[ship] = list(own)

    def put_covariates(self, covariates: Covariates) -> None:
        """See `ReadingStore`."""
        self._covariates[covariates.ship] = covariates

    def put_slots(self, slots: Slots, was: Slots) -> None:  # noqa: ARG002  # there are no roll-ups
        """See `ReadingStore`."""
        for slot in map(_Slot._make, slots.rows()):
            own = self._slots[slot.ship]
            if own.get(slot.start_s) != (slot if slot.covered_s else None):
                own[slot.start_s] = slot
                if not slot.covered_s:
                    del own[slot.start_s]
                self._changes += 1
                self._last_change[slot.ship, slot.start_s] = self._changes

    def pinned(self, name: str, value: str) -> str:
        """See `ReadingStore`."""
        with self._lock:
            return self._pinned.setdefault(name, value)

    def tidy(self) -> bool:
        """See `ReadingStore`."""
        return False

    def slots(self, ship: int, window: Window) -> Slots:
        """See `EnergyReader`."""
        with self._lock:
            return Slots.from_rows(self._within(ship, window))

    def energy(self, ship: int, window: Window) -> SlotEnergy:
        """See `EnergyReader`."""
        slots = self.slots(ship, window)
        return SlotEnergy(slots.start_s, slots.kwh)

    def fleet(self, window: Window) -> FleetSlots:
        """See `EnergyReader`."""
        by_start: defaultdict[int, list[_Slot]] = defaultdict(list)
        for slot in self._within(None, window):
            by_start[slot.start_s].append(slot)
        return FleetSlots.from_rows(
            (
                start_s,
                fsum(slot.kwh for slot in each),
                fsum(slot.covered_s for slot in each),
                any(slot.provisional for slot in each),
                fsum(slot.estimated_s for slot in each),
                len(each),
                sum(slot.covered_s >= SLOT_S for slot in each),
            )
            for start_s, each in sorted(by_start.items())
        )

    def top_ships(self, window: Window, count: int) -> list[ShipEnergy]:
        """See `EnergyReader`."""
        by_ship: defaultdict[int, list[_Slot]] = defaultdict(list)
        for slot in self._within(None, window):
            by_ship[slot.ship].append(slot)
        found = [
            ShipEnergy(ship, fsum(slot.kwh for slot in each), fsum(slot.covered_s for slot in each))
            for ship, each in by_ship.items()
        ]
        return sorted(found, key=lambda each: (-round(each.kwh, 6), each.ship))[:count]

    def first_slot_s(self, ship: int | None, window: Window) -> int | None:
        """See `EnergyReader`."""
        return min((slot.start_s for slot in self._within(ship, window)), default=None)

    def last_slot_s(self, ship: int | None, window: Window) -> int | None:
        """See `EnergyReader`."""
        return max((slot.start_s for slot in self._within(ship, window)), default=None)

    def reach(self, ship: int | None) -> Window:
        """See `EnergyReader`."""
        starts_s = [slot.start_s for slot in self._within(ship, Window())]
        return Window(min(starts_s), max(starts_s) + SLOT_S) if starts_s else NOWHEN

    def version(self, ship: int | None, window: Window) -> str | None:
        """See `EnergyReader`: the number of slots that have been there, and the sum of their last changes."""
        start_s, end_s = window.bounds_s()
        with self._lock:
            changed = [
                number
                for (each, at_s), number in self._last_change.items()
                if ship in (None, each) and start_s <= at_s < end_s
            ]
            return f"{len(changed)} {sum(changed)}"

    def ships(self, after: int, count: int, windows: Sequence[Window], until_us: int) -> ShipPage:
        """See `EnergyReader`."""
        with self._lock:
            later = sorted(ship for ship, slots in self._slots.items() if ship > after and slots)
            found = [self._history(ship, windows, until_us) for ship in later[:count] if self._readings[ship]]
        return ShipPage(found, later[count - 1] if len(later) > count else None)

    def _history(self, ship: int, windows: Sequence[Window], until_us: int) -> ShipHistory:
        moments_us = sorted(self._readings[ship])
        slots = self._within(ship, Window())
        until_now = [slot for slot in slots if slot.start_s <= until_us // US_PER_S]
        used = [[slot.kwh for slot in self._within(ship, window)] for window in windows]
        return ShipHistory(
            ship,
            moments_us[0],
            tuple([each for each in moments_us if each <= until_us][-NEWEST:]),
            moments_us[-1] if moments_us[-1] > until_us else None,
            (until_now[-1].start_s - until_now[0].start_s) // SLOT_S + 1 if until_now else 0,
            sum(slot.covered_s >= SLOT_S for slot in until_now),
            tuple(fsum(kwh) if kwh else None for kwh in used),
        )

    def known_ships(self, after: int, count: int) -> list[int]:
        """See `EnergyReader`."""
        with self._lock:
            known = (
                self._deletions.keys() | self._covariates.keys() | {ship for ship, own in self._readings.items() if own}
            )
        return sorted(ship for ship in known if ship > after)[:count]

    def readings(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        """See `EnergyReader`."""
        with self._lock:
            rows = sorted(self._readings[ship].values())
        return Readings.from_rows([row for row in rows if start_us <= row[1] < end_us][:count])

    def deletions(self, ships: Sequence[int]) -> Deletions:
        """See `EnergyReader`."""
        with self._lock:
            return Deletions.from_rows([row for ship in sorted(ships) for row in self._deletions.get(ship, [])])

    def covariates(self, ship: int) -> Covariates | None:
        """See `EnergyReader`."""
        with self._lock:
            return self._covariates.get(ship)

    stored_readings, stored_deletions, stored_covariates = readings, deletions, covariates

    def ping(self) -> None:
        """See `EnergyReader`."""

    def extent(self) -> Window | None:
        """See `EnergyReader`."""
        return None if (window := self.reach(None)) == NOWHEN else window

    def _within(self, ship: int | None, window: Window) -> list[_Slot]:
        """Return the slots of a ship (None: of all) in a window, by ship and time."""
        start_s, end_s = window.bounds_s()
        with self._lock:
            own = list(self._slots.values()) if ship is None else [self._slots[ship]]
            return sorted(slot for slots in own for slot in slots.values() if start_s <= slot.start_s < end_s)
