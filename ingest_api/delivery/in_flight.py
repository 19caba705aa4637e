"""The batches in flight: published, and without a receipt."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from shared.contract.status import BatchKey

MAX_BATCHES = 1000
MAX_BYTES = 32 * 1024 * 1024
"""What may be in flight at a time; one batch always may."""
SHIP_BATCHES = 100
SHIP_BYTES = 4 * 1024 * 1024
"""What may be in flight of one ship at a time; one batch of it always may."""
AGAIN_S = 30.0
"""How long after its publication a batch without a receipt is published again; each next pause is longer."""
LATEST_S = 3600.0
GROWTH = 3.0
SOONER = 30.0
"""By what the pauses are divided when the broker has dropped messages."""
REFUSED_AGAIN_S = 1.0
REFUSED_LATEST_S = 30.0
JITTER = 0.2


@dataclass(slots=True)
class _Batch:
    """A batch in flight, and when to publish it again."""

    number: int
    size: int
    pause_s: float
    due_s: float
    is_refused: bool = False


@dataclass(slots=True)
class _Share:
    """What is in flight of one ship."""

    batches: int = 0
    size: int = 0


class InFlight:
    """Counts the batches in flight over one connection; the caller holds the lock."""

    def __init__(self, now_s: Callable[[], float], receive_maximum: int = MAX_BATCHES) -> None:
        """Start empty.

        Args:
            now_s: a monotonic clock.
            receive_maximum: how many messages the broker accepts before it has confirmed the first.

        """
        self._now_s = now_s
        self._batches: dict[BatchKey, _Batch] = {}
        self._shares: dict[int, _Share] = {}
        self._bytes = 0
        self._max_batches = min(receive_maximum, MAX_BATCHES)
        self._max_share = min(max(self._max_batches // 2, 1), SHIP_BATCHES)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches)

    def has_room(self) -> bool:
        """Return whether another batch may be published."""
        return not self._batches or (len(self._batches) < self._max_batches and self._bytes < MAX_BYTES)

    def has_much_room(self) -> bool:
        """Return whether at least a quarter is free: it is cheaper to publish several batches at a time."""
        return not self._batches or (
            len(self._batches) * 4 <= self._max_batches * 3 and self._bytes * 4 <= MAX_BYTES * 3
        )

    def has_room_for(self, ship: int) -> bool:
        """Return whether another batch of a ship is within its share."""
        share = self._shares.get(ship)
        return share is None or (share.batches < self._max_share and share.size < SHIP_BYTES)

    def room_for(self, ship: int) -> tuple[int, int]:
        """Return how many batches, and how many bytes, of a ship's share are free."""
        share = self._shares.get(ship, _Share())
        return self._max_share - share.batches, SHIP_BYTES - share.size

    def has_much_room_for(self, ship: int) -> bool:
        """Return whether at least a quarter of a ship's share is free."""
        share = self._shares.get(ship)
        return share is None or (share.batches * 4 <= self._max_share * 3 and share.size * 4 <= SHIP_BYTES * 3)

    def add(self, key: BatchKey, number: int, size: int) -> None:
        """Add a batch that is about to be published."""
        self._batches[key] = _Batch(number, size, AGAIN_S, self._now_s() + _with_jitter(AGAIN_S))
        self._bytes += size
        share = self._shares.get(key.ship)
        if share is None:
            share = self._shares[key.ship] = _Share()
        share.batches += 1
        share.size += size

    def remove(self, key: BatchKey) -> bool:
        """Remove a batch; return whether it was in flight."""
        batch = self._batches.pop(key, None)
        if batch is None:
            return False
        self._bytes -= batch.size
        share = self._shares[key.ship]
        share.batches -= 1
        share.size -= batch.size
        if not share.batches:
            del self._shares[key.ship]
        return True

    def refuse(self, key: BatchKey) -> None:
        """Note that the broker refused a batch or had no subscriber: publish it again soon, then less often."""
        batch = self._batches.get(key)
        if batch is not None:
            grown_s = min(batch.pause_s * GROWTH, REFUSED_LATEST_S)
            batch.pause_s = grown_s if batch.is_refused else REFUSED_AGAIN_S
            batch.is_refused = True
            batch.due_s = self._now_s() + _with_jitter(batch.pause_s)

    def hurry(self) -> None:
        """Note that the broker dropped messages, perhaps some of these: publish them again sooner."""
        now_s = self._now_s()
        for batch in self._batches.values():
            batch.due_s = min(batch.due_s, now_s + _with_jitter(batch.pause_s / SOONER))

    def take_due(self) -> list[tuple[BatchKey, int]]:
        """Return keys and numbers of the batches to publish again now; the next pause of each is longer."""
        now_s = self._now_s()
        due = [(key, batch) for key, batch in self._batches.items() if batch.due_s <= now_s]
        for _, batch in due:
            if not batch.is_refused:
                batch.pause_s = min(batch.pause_s * GROWTH, LATEST_S)
            batch.due_s = now_s + _with_jitter(max(batch.pause_s, AGAIN_S))
        return [(key, batch.number) for key, batch in due]


def _with_jitter(pause_s: float) -> float:
    """Spread batches that would be due all at once."""
    return pause_s * random.uniform(1 - JITTER, 1 + JITTER)
