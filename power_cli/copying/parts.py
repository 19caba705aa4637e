"""A ship's readings in parts: each holds a bounded number of readings, and together they cover all time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from shared.domain.readings import Readings
from shared.domain.slots import SLOT_US, Slots, Window, slot_ceil_us
from shared.domain.timestamps import LAST_US, US_PER_S
from shared.store.port import EnergyReader

PART_READINGS = 50_000
"""Of one part, at most; some 2 MB in memory."""
FIRST_SPAN_US = 32 * 86_400 * US_PER_S
"""The time that the first part covers; InfluxDB reads all that is in a time range, however little is asked for."""
PAGE_SHIPS = 500
_END_US = LAST_US + 1


class Ship(NamedTuple):
    """A ship, and the timestamps of its first and its last reading; 0 if it has no energy, and few readings if any."""

    number: int
    first_us: int
    last_us: int

    def slots_between(self, start_us: int, end_us: int) -> int:
        """Return how many of its slots are in ``[start, end)``, holes included, as a measure of progress."""
        first, last = self.first_us // SLOT_US, self.last_us // SLOT_US
        return max(min(-(-end_us // SLOT_US), last + 1) - max(-(-start_us // SLOT_US), first), 0)


@dataclass(frozen=True, slots=True)
class Part:
    """All readings of a ship in ``[start, end)``, by time."""

    ship: Ship
    start_us: int
    end_us: int
    readings: Readings

    @property
    def window(self) -> Window:
        """The slots that start in it; those before the first reading and after the last one are in a part, too."""
        start_s, end_s = (slot_ceil_us(each) // US_PER_S for each in (self.start_us, self.end_us))
        return Window(start_s, end_s if self.end_us < _END_US else None)

    @property
    def progress(self) -> int:
        """How many slots it covers."""
        return self.ship.slots_between(self.start_us, self.end_us)

    def slots(self, store: EnergyReader) -> Slots:
        """Read its slots."""
        return store.slots(self.ship.number, self.window)


def ships(store: EnergyReader) -> Iterator[Ship]:
    """Read the ships, page by page, in ascending order; those that have no energy, too."""
    after = -1
    while page := store.known_ships(after, PAGE_SHIPS):
        with_energy = {each.ship: each for each in store.ships(after, len(page), (), LAST_US).ships}
        for number in page:
            each = with_energy.get(number)
            yield Ship(number, each.first_us, each.newest_us[-1]) if each else Ship(number, 0, 0)
        after = page[-1]


def parts(store: EnergyReader, ship: Ship) -> Iterator[Part]:
    """Read a ship part by part. Parts of a ship that is being written end where they would without it."""
    start_us, end_us, span_us = 0, ship.first_us, FIRST_SPAN_US
    while end_us < _END_US:
        end_us += span_us
        if end_us > ship.last_us:
            end_us = _END_US
        found = store.readings(ship.number, start_us, end_us, PART_READINGS)
        if len(found) == PART_READINGS:  # there may be more
            end_us = int(found.moment_us[-1]) + 1
            span_us = max(span_us // 2, SLOT_US)
        elif len(found) < PART_READINGS // 4:
            span_us *= 2
        yield Part(ship, start_us, end_us, found)
        start_us = end_us
