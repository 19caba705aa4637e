"""What a store promises, whichever database is behind it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from shared.domain.readings import F64, I64, Bools, Readings
from shared.domain.slots import Slots, Window, slot_floor_us
from shared.domain.timestamps import US_PER_S

BEFORE = 2
"""How many readings before a slot decide on it, with those in it: the first only tells how long the second speaks."""

NEWEST = 21
"""How many of its newest readings are read to tell how often a ship sends one: twenty times in between."""

AHEAD_SLOTS = 10_000
"""How many of a ship's slots in the future are read to tell how many of its slots up to now are whole."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one ship's time, both ends included, microseconds since 1970."""

    ship: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True, eq=False)
class Neighbourhood:
    """The readings around a span, by time.

    Attributes:
        readings: without a hole between the first and the last of them.
        from_oldest: whether the first of them is known to be the ship's oldest reading.
        to_newest: whether the last of them is known to be its newest; always, if none is later than the span.

    """

    readings: Readings
    from_oldest: bool
    to_newest: bool

    @property
    def window(self) -> Window:
        """The slots that depend on no reading but these (and on new ones in the span)."""
        moment_us = self.readings.moment_us
        start_us = None if self.from_oldest else slot_floor_us(int(moment_us[BEFORE]))
        end_us = None if self.to_newest else slot_floor_us(int(moment_us[-1]))
        return Window(start_us and start_us // US_PER_S, end_us and end_us // US_PER_S)


@dataclass(frozen=True, slots=True, eq=False)
class FleetSlots:
    """The fleet's energy per slot, by time, columns of equal length n.

    Attributes:
        start_s: seconds since 1970, int64[n].
        kwh: the sum over the ships that have the slot, float64[n].
        covered_s: the sum of their cover, float64[n].
        provisional: whether any of theirs is, bool[n].
        ships: how many have the slot, at least 1, int64[n].
        whole: how many of them cover all of it, int64[n].

    """

    start_s: I64
    kwh: F64
    covered_s: F64
    provisional: Bools
    ships: I64
    whole: I64


@dataclass(frozen=True, slots=True)
class ShipEnergy:
    """What one ship used in a window, and for how many seconds of it that is known."""

    ship: int
    kwh: float
    covered_s: float


@dataclass(frozen=True, slots=True)
class ShipHistory:
    """What is known of one ship.

    Attributes:
        ship: its id.
        first_us: the moment of its first reading, microseconds since 1970.
        newest_us: the moments of its newest readings up to the time asked for, by time: `NEWEST` of them or all there
            are. Empty if all its readings are later.
        ahead_us: the moment of its last reading after that time, None if there is none.
        slots: how many slots there could be from its first to its last one up to that time, both included; 0 if there
            is none.
        whole: how many of them are there, and wholly covered. A store may leave out only the first `AHEAD_SLOTS` of the
            slots after that time, and count the others as well.
        kwh: what it used in each of the windows that were asked for; None where it has no slot.

    """

    ship: int
    first_us: int
    newest_us: tuple[int, ...]
    ahead_us: int | None
    slots: int
    whole: int
    kwh: tuple[float | None, ...]


class ShipPage(NamedTuple):
    """Some ships by id, and after which id there may be more; None where there are no more."""

    ships: list[ShipHistory]
    next: int | None


class EnergyReader(Protocol):
    """What the query service needs. Every method may raise `Unavailable`; slots without cover never appear."""

    def slots(self, ship: int, window: Window) -> Slots:
        """Give one ship's slots in the order of time."""
        ...

    def fleet(self, window: Window) -> FleetSlots:
        """Give the fleet's slots; what it costs does not depend on the number of ships."""
        ...

    def top_ships(self, window: Window, count: int) -> list[ShipEnergy]:
        """Give the ships that used most, greatest first; a ship without a slot there is left out.

        Ties are sorted by id; two are tied if they do not differ in six decimals, which is what answers show.
        """
        ...

    def first_slot_s(self, ship: int | None, window: Window) -> int | None:
        """Give the start of the first slot in a window, a ship's or (None) the fleet's; None where there is none.

        There may have been a slot once, and be none now. What it costs does not depend on how much follows.
        """
        ...

    def last_slot_s(self, ship: int | None, window: Window) -> int | None:
        """Give the start of the last slot in a window, as `first_slot_s` gives that of the first."""
        ...

    def reach(self, ship: int | None) -> Window:
        """Give a window that holds all slots of a ship or (None) of the fleet: empty if there are none.

        It may be wider than they are, even open; it costs next to nothing, however many they are.
        """
        ...

    def version(self, ship: int | None, window: Window) -> str | None:
        """Give a text that is another one once a slot of a window has changed, a ship's or (None) the fleet's.

        What is read after it is at least as new. It may change without need; None says that it is not known just now.
        It costs little beside reading the slots of a long window.
        """

    def ships(self, after: int, count: int, windows: Sequence[Window], until_us: int) -> ShipPage:
        """Give the first ships of all whose id is greater than `after`, those with later readings only, too.

        What it costs depends on how many these are and on the length of the windows, hardly on their history.

        Args:
            after: -1 for all.
            count: how many at most.
            windows: what to sum their energy over; each with both bounds.
            until_us: later readings and slots come from wrong clocks; microseconds since 1970.

        """
        ...

    def readings(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        """Give one ship's first readings in ``[start_us, end_us)``, by time, `count` of them or all there are."""
        ...

    def ping(self) -> None:
        """Return if the store answers; that costs next to nothing."""
        ...

    def extent(self) -> Window | None:
        """Give the window from the first slot of any ship to the last, None where there is none."""
        ...


class ReadingStore(Protocol):
    """What the worker needs. Every method may raise `Unavailable`."""

    def transaction(self) -> AbstractContextManager[None]:
        """Make all that is put inside durable at its end.

        After an error or a crash none of it is stored, or, where the database has no transactions, perhaps a part of
        it: readings without what they make of the slots, never slots without their readings. Recording the same
        readings again puts that right.
        """
        ...

    def neighbourhoods(self, spans: Sequence[Span]) -> list[Neighbourhood]:
        """Give, for each span, the stored readings that new ones in it can share a slot or an interval with.

        These are: those in the span, the nearest one before it and the two nearest slots with readings after it, all
        others in the slots of these; and beyond them two more readings before (`BEFORE`) and one after. No two spans
        are of one ship.
        """
        ...

    def stored_slots(self, windows: Mapping[int, Window]) -> Slots:
        """Give the slots of several ships, each in its own window, in the order of ship and time."""
        ...

    def put_readings(self, readings: Readings) -> None:
        """Keep readings, in the place of what was stored of the same ship and moment."""
        ...

    def put_slots(self, slots: Slots, was: Slots) -> None:
        """Put slots in the place of what was stored of them; ``covered_s`` 0 takes one away.

        Args:
            slots: no slot twice.
            was: row by row what is stored of them, with ``covered_s`` 0 where nothing is. A store may need it for its
                sums.

        """
        ...

    def pinned(self, name: str, value: str) -> str:
        """Keep a value under a name for the life of the store; give the one that was put there first."""
        ...

    def tidy(self) -> bool:
        """Do a little of what can wait (some milliseconds of it); tell whether more of it is left."""
        ...
