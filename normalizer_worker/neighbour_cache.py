"""The newest readings of active ships, remembered, so that a stream in the order of time reads nothing back."""

from collections import OrderedDict
from dataclasses import dataclass

from shared.domain.readings import Readings
from shared.domain.slots import SLOT_US, slot_floor_us
from shared.store.port import Neighbourhood, Span

READINGS_PER_SHIP = 32
"""What a ship costs beside its readings, counted in readings."""


@dataclass(frozen=True, slots=True, eq=False)
class _Tail:
    """All of a ship's readings from some moment on."""

    readings: Readings
    from_oldest: bool

    def serves(self, span: Span) -> bool:
        """Tell whether new readings in the span have all their neighbours here.

        They need the slot of the reading before them, and two readings before that slot.
        """
        if self.from_oldest:
            return True
        moment_us = self.readings.moment_us
        before = int(moment_us.searchsorted(span.first_us)) - 1
        return before > 1 and slot_floor_us(int(moment_us[before])) > moment_us[1]


class Tails:
    """A bounded memory of tails; the ship that has been silent longest is forgotten first."""

    def __init__(self, max_readings: int) -> None:
        """Bound the memory by readings, each of some 40 bytes."""
        self._max = max_readings
        self._size = 0
        self._tails: OrderedDict[int, _Tail] = OrderedDict()

    def around(self, span: Span) -> Neighbourhood | None:
        """Give what the store would give around a span, None where it has to be asked."""
        tail = self._tails.get(span.ship)
        if tail is None or not tail.serves(span):
            return None
        return Neighbourhood(tail.readings, tail.from_oldest, to_newest=True)

    def put(self, ship: int, around: Neighbourhood) -> None:
        """Remember the end of a ship's readings, if these reach it; otherwise forget what was known of the ship."""
        self._forget(ship)
        if not around.to_newest:
            return
        # One slot more than needed, so that readings that come a little late find their neighbours too.
        moment_us = around.readings.moment_us
        needed_from_us = slot_floor_us(int(moment_us[-1])) - SLOT_US
        first = max(int(moment_us.searchsorted(needed_from_us)) - 2, 0)
        tail = _Tail(around.readings[first:].copy(), around.from_oldest and first == 0)
        self._tails[ship] = tail
        self._size += len(tail.readings) + READINGS_PER_SHIP
        while self._size > self._max:
            self._forget(next(iter(self._tails)))

    def clear(self) -> None:
        """Forget everything."""
        self._tails.clear()
        self._size = 0

    def _forget(self, ship: int) -> None:
        tail = self._tails.pop(ship, None)
        if tail is not None:
            self._size -= len(tail.readings) + READINGS_PER_SHIP
