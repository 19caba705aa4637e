"""The newest readings of active ships, cached: a stream in the order of time then reads nothing from the store."""

from collections import OrderedDict

from normalizer_worker.rule.reach import Neighbourhood, Span

READINGS_PER_SHIP = 32
"""The memory that a ship takes besides its readings, counted in readings."""


class NeighbourCache:
    """The end of the readings of many ships, bounded; the ship that was used least recently is dropped first."""

    def __init__(self, max_readings: int) -> None:
        """Bound the cache by a number of readings, each of some 65 bytes."""
        self._max = max_readings
        self._size = 0
        self._ends: OrderedDict[int, Neighbourhood] = OrderedDict()

    def around(self, span: Span) -> Neighbourhood | None:
        """Return the neighbourhood of new readings in a span; None if it has to be read from the store."""
        end = self._ends.get(span.ship)
        return end if end is not None and end.has_before(span) else None

    def put(self, ship: int, near: Neighbourhood) -> None:
        """Cache the end of a ship's readings, if these reach it; otherwise drop what is cached of the ship."""
        self.drop(ship)
        if not near.to_newest:
            return
        self._ends[ship] = end = near.end()
        self._size += len(end.readings) + READINGS_PER_SHIP
        while self._size > self._max:
            self.drop(next(iter(self._ends)))

    def clear(self) -> None:
        """Drop everything."""
        self._ends.clear()
        self._size = 0

    def drop(self, ship: int) -> None:
        """Drop what is cached of a ship."""
        end = self._ends.pop(ship, None)
        if end is not None:
            self._size -= len(end.readings) + READINGS_PER_SHIP
