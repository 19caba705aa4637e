"""Ships that have more batches waiting than they may have in flight."""

from collections.abc import Collection


class Backlog:
    """Remembers where to go on with each of these ships; the caller holds the lock."""

    def __init__(self) -> None:
        """Start without ships."""
        self._published_up_to: dict[int, int] = {}
        """By ship, the number up to which all its entries have been published."""
        self._ready: dict[int, None] = {}
        """The ships that have room again, in the order in which they got it."""

    def ships(self) -> Collection[int]:
        """Return the ships."""
        return self._published_up_to.keys()

    def add(self, ship: int, number: int) -> None:
        """Add a ship, of which all entries up to a number have been published; or update that number."""
        self._published_up_to[ship] = number

    def remove(self, ship: int) -> None:
        """Remove a ship: none of its entries is left behind."""
        del self._published_up_to[ship]
        self._ready.pop(ship, None)

    def make_ready(self, ship: int) -> bool:
        """Note that a ship has room again; return whether it is in the backlog."""
        is_waiting = ship in self._published_up_to
        if is_waiting:
            self._ready[ship] = None
        return is_waiting

    def has_ready(self) -> bool:
        """Return whether any ship has room."""
        return bool(self._ready)

    def next_ready(self) -> tuple[int, int] | None:
        """Return the ship whose turn it is, and the number up to which its entries have been published."""
        for ship in self._ready:
            del self._ready[ship]
            return ship, self._published_up_to[ship]
        return None
