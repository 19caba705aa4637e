"""The deletions of active ships, cached: most have none, and a stream then reads nothing from the store."""

from collections import OrderedDict
from collections.abc import Sequence

from shared.domain.deletions import Deletions
from shared.store.port import ReadingStore

DELETIONS_PER_SHIP = 4
"""The memory that a ship takes besides its deletions, counted in deletions."""


NONE = Deletions.from_rows([])


class DeletionCache:
    """The deletions of many ships, bounded; the ship that was read first is dropped first."""

    def __init__(self, store: ReadingStore, max_deletions: int) -> None:
        """Bound the cache by a number of deletions, each of some 32 bytes."""
        self._store = store
        self._max = max_deletions
        self._size = 0
        self._of: OrderedDict[int, Deletions] = OrderedDict()

    def of(self, ships: Sequence[int]) -> Deletions:
        """Return the deletions of ships, as `joined` returns them; those not cached are read from the store.

        Raises:
            Unavailable: the store does not answer.

        """
        found = [self._of.get(ship) for ship in ships]
        if None in found:
            read = self._store.stored_deletions([ship for ship in ships if ship not in self._of])
            for at, ship in enumerate(ships):
                if found[at] is None:
                    found[at] = self.put(ship, read[read.ship == ship] if len(read) else NONE)
        some = [each for each in found if each is not None and each is not NONE]
        return Deletions.concat(some) if some else NONE

    def put(self, ship: int, deletions: Deletions) -> Deletions:
        """Cache the deletions of a ship; return them, or `NONE` if there are none."""
        self._drop(ship)
        self._of[ship] = deletions = deletions if len(deletions) else NONE
        self._size += len(deletions) + DELETIONS_PER_SHIP
        while self._size > self._max and len(self._of) > 1:
            self._drop(next(iter(self._of)))
        return deletions

    def clear(self) -> None:
        """Drop everything."""
        self._of.clear()
        self._size = 0

    def _drop(self, ship: int) -> None:
        old = self._of.pop(ship, None)
        if old is not None:
            self._size -= len(old) + DELETIONS_PER_SHIP
