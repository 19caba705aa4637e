"""The port of the stores: what the worker and the query service need of a database.

`choice.py` opens the store that the settings name.

All timestamps are UTC, microseconds (`_us`) or seconds (`_s`) since 1970. Every method may raise `Unavailable`.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from shared.domain.columns import F64, I64, Bools, Columns
from shared.domain.covariates import Covariates
from shared.domain.deletions import Deletions
from shared.domain.readings import ReadingRanges, Readings
from shared.domain.slots import ShipWindows, Slots, Window

NEWEST = 21
"""How many of a ship's newest readings `ShipHistory` has: the 20 intervals between them show how often it sends."""

AHEAD_SLOTS = 10_000
"""How many slots ahead of the clock a store counts for `ShipHistory.whole`."""


@dataclass(frozen=True, slots=True, eq=False)
class FleetSlots(Columns):
    """The energy of all ships together per slot, by time: columns of equal length n.

    Attributes:
        start_s: the slot's start, int64[n].
        kwh: the sum over the ships that have the slot, float64[n].
        covered_s: the sum of their covered seconds, float64[n].
        provisional: whether it is provisional for any of them, bool[n].
        estimated_s: the sum of their estimated seconds, float64[n].
        ships: how many ships have the slot, at least 1, int64[n].
        whole: how many of them cover all 900 s of it, int64[n].

    """

    row = np.dtype("i8, f8, f8, ?, f8, i8, i8")

    start_s: I64
    kwh: F64
    covered_s: F64
    provisional: Bools
    estimated_s: F64
    ships: I64
    whole: I64


@dataclass(frozen=True, slots=True, eq=False)
class SlotEnergy(Columns):
    """The energy of one ship's slots, by time: columns of equal length n.

    Attributes:
        start_s: the slot's start, int64[n].
        kwh: its energy, float64[n].

    """

    row = np.dtype("i8, f8")

    start_s: I64
    kwh: F64


@dataclass(frozen=True, slots=True)
class ShipEnergy:
    """What one ship used in a window, and how many seconds of the window are covered."""

    ship: int
    kwh: float
    covered_s: float


@dataclass(frozen=True, slots=True)
class ShipHistory:
    """What is stored of one ship, up to a time that the caller names. What is later comes from a wrong clock.

    Attributes:
        ship: `spaceship_id`.
        first_us: the timestamp of its first reading.
        newest_us: the timestamps of its newest readings up to that time, ascending: `NEWEST`, or all there are.
        ahead_us: the timestamp of its last reading after that time; None if there is none.
        slots: the number of slots from its first one to the last one up to that time, holes included; 0 if there are
            none.
        whole: how many of these it has with a cover of 900 s. It may be too many if the ship has more than
            `AHEAD_SLOTS` slots after that time.
        kwh: what it used in each of the windows that the caller names; None where it has no slot.

    """

    ship: int
    first_us: int
    newest_us: tuple[int, ...]
    ahead_us: int | None
    slots: int
    whole: int
    kwh: tuple[float | None, ...]


class ShipPage(NamedTuple):
    """Ships in ascending order, and the `after` of the next page; None if this is the last one."""

    ships: list[ShipHistory]
    next: int | None


class EnergyReader(Protocol):
    """What the query service needs; safe to use from several threads. Slots without cover are never returned."""

    def slots(self, ship: int, window: Window) -> Slots:
        """Return one ship's slots by time."""

    def energy(self, ship: int, window: Window) -> SlotEnergy:
        """Return the energy of the same slots, and nothing else of them, in less time."""

    def fleet(self, window: Window) -> FleetSlots:
        """Return the slots of all ships together. The cost does not depend on the number of ships."""

    def top_ships(self, window: Window, count: int) -> list[ShipEnergy]:
        """Return the `count` ships that used most in a window, greatest first, ships without a slot there left out.

        Ships whose energy is equal in six decimals, which is what answers show, are sorted by ship.
        """

    def first_slot_s(self, ship: int | None, window: Window) -> int | None:
        """Return the start of the first slot of a ship (None: of the fleet) in a window; None if there is none.

        A slot that has been there and was removed may count. The cost does not depend on how many slots follow.
        """

    def last_slot_s(self, ship: int | None, window: Window) -> int | None:
        """Return the start of the last slot in a window; otherwise as `first_slot_s`."""

    def reach(self, ship: int | None) -> Window:
        """Return a window that holds all slots of a ship (None: of the fleet); an empty one if it has none.

        The window may be too wide, even open. The cost is that of one lookup.
        """

    def version(self, ship: int | None, window: Window) -> str | None:
        """Return a token that changes whenever a slot in the window does, of a ship or (None) of any.

        Slots that are read afterwards are at least as new as the token. It may also change without need. None: it is
        not known now. The cost is small compared to reading the slots of a long window.
        """

    def ships(self, after: int, count: int, windows: Sequence[Window], until_us: int) -> ShipPage:
        """Return the next ships by number, ships that only have readings later than `until_us` included.

        A ship whose readings speak for no time, such as the first one of a counter, is left out.
        These are at most `count` ships greater than `after`, which is -1 for the first page. Their energy is summed
        over the windows, whose bounds are both given. For `until_us` see `ShipHistory`.
        The cost depends on the number of ships and the length of the windows, hardly on the length of the histories.
        """

    def known_ships(self, after: int, count: int) -> list[int]:
        """Return the next ships that have a reading, a deletion or covariates: at most `count`, greater than `after`.

        A ship whose readings were all removed otherwise may be among them.
        """

    def readings(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        """Return one ship's first `count` readings in ``[start_us, end_us)`` by time, or all there are."""

    def deletions(self, ships: Sequence[int]) -> Deletions:
        """Return the deletions of ships, as `joined` returns them."""

    def covariates(self, ship: int) -> Covariates | None:
        """Return a ship's covariates, also those that are removed; None if there were none. It is one lookup."""

    def ping(self) -> None:
        """Return if the store answers. The cost is that of one lookup."""

    def extent(self) -> Window | None:
        """Return the window from the first slot of any ship to the last; None if there are none."""


class ReadingStore(Protocol):
    """What the worker needs; used from one thread."""

    def transaction(self) -> AbstractContextManager[object]:
        """Make all that is put inside durable at its end.

        After an error or a crash none of it is stored, or, where the database has no transactions, perhaps a part of
        it: readings without what they make of the slots, never slots without their readings. Recording the same
        readings again puts that right.
        """

    def readings_around(self, ranges: ReadingRanges) -> Readings:
        """Return the stored readings in ranges and next to them, sorted by ship and time.

        Of each ship: all readings in ``[start_us, end_us)``, the `before` nearest readings before it and the `after`
        nearest from `end_us` on; fewer if there are no more. If `before` is not 0, a store may return more readings
        before, where that is cheap, so that the caller need not ask again; likewise after. All are consecutive.
        """

    def stored_slots(self, windows: ShipWindows) -> Slots:
        """Return the stored slots of several ships, each in its own window, sorted by ship and time."""

    def put_readings(self, readings: Readings, replaced: Readings | None = None) -> None:
        """Store readings; each replaces what is stored for the same ship and timestamp.

        `replaced` are those that are stored there; None if there are none.
        """

    def remove_readings(self, ship: int, start_us: int, end_us: int) -> None:
        """Remove the readings of a ship in ``[start_us, end_us)``."""

    def stored_readings(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        """See `EnergyReader.readings`."""

    def stored_deletions(self, ships: Sequence[int]) -> Deletions:
        """See `EnergyReader.deletions`."""

    def put_deletions(self, deletions: Deletions) -> None:
        """Store deletions, as `joined` returns them, in the place of all that is stored of their ships."""

    def stored_covariates(self, ship: int) -> Covariates | None:
        """See `EnergyReader.covariates`."""

    def put_covariates(self, covariates: Covariates) -> None:
        """Store a ship's covariates in the place of those that are stored, which they replace (`replaces`)."""

    def put_slots(self, slots: Slots, was: Slots) -> None:
        """Store slots, none twice; each replaces what is stored, and one with ``covered_s`` 0 is removed.

        `was` are the same slots as they are stored, row by row, with ``covered_s`` 0 where nothing is. A store may need
        it to keep its roll-ups.
        """

    def pinned(self, name: str, value: str) -> str:
        """Store a value under a name unless the name has one; return the value that the name has.

        It is never changed: a store is bound to the settings that it was filled with.
        """

    def tidy(self) -> bool:
        """Do some milliseconds of maintenance; return whether more is left that cannot wait."""
