"""Ships that have more waiting than they may have under way."""

from collections.abc import Collection


class Backlog:
    """Remembers where each of them goes on once it has room again; for one thread at a time."""

    def __init__(self) -> None:
        """Begin without any."""
        self._published: dict[int, int] = {}
        """By ship, the number up to which all its batches have been published."""
        self._ready: dict[int, None] = {}
        """Those that have room again, in the order in which they got it."""

    def clear(self) -> None:
        """Forget all."""
        self._published.clear()
        self._ready.clear()

    def ships(self) -> Collection[int]:
        """Return the ships."""
        return self._published.keys()

    def add(self, ship: int, number: int) -> None:
        """Note that a ship has to wait, and that all its batches up to a number have been published."""
        self._published[ship] = number

    def remove(self, ship: int) -> None:
        """Note that nothing of a ship has to wait any more."""
        del self._published[ship]
        self._ready.pop(ship, None)

    def make_ready(self, ship: int) -> bool:
        """Note that a ship has room again, and return whether it has been waiting for that."""
        is_waiting = ship in self._published
        if is_waiting:
            self._ready[ship] = None
        return is_waiting

    def has_ready(self) -> bool:
        """Tell whether one of them has room."""
        return bool(self._ready)

    def next_ready(self) -> tuple[int, int] | None:
        """Return the ship whose turn it is, and the number up to which its batches have been published."""
        for ship in self._ready:
            del self._ready[ship]
            return ship, self._published[ship]
        return None
