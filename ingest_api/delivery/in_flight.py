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
"""First pause before a batch without a receipt is published again; each next one is `GROWTH` times as long."""
LATEST_S = 3600.0
GROWTH = 3.0
SOONER = 30.0
"""When the broker has dropped messages, pauses are divided by this."""
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
class Share:
    """What is in flight, and what may be, in all or of one ship; one batch always may."""

    max_batches: int
    max_bytes: int
    batches: int = 0
    size: int = 0

    @property
    def has_room(self) -> bool:
        """Whether another batch may be published."""
        return not self.batches or (self.batches < self.max_batches and self.size < self.max_bytes)

    @property
    def has_much_room(self) -> bool:
        """Whether at least a quarter is free: it is cheaper to publish several batches at a time."""
        return not self.batches or (self.batches * 4 <= self.max_batches * 3 and self.size * 4 <= self.max_bytes * 3)

    def count(self, batches: int, size: int) -> None:
        """Add batches, or remove them."""
        self.batches += batches
        self.size += size


class InFlight:
    """Counts the batches in flight over one connection; the caller holds the lock."""

    def __init__(self, now_s: Callable[[], float], receive_maximum: int = MAX_BATCHES) -> None:
        """Start empty; `receive_maximum` is how many messages the broker accepts before it confirms the first."""
        self._now_s = now_s
        self._batches: dict[BatchKey, _Batch] = {}
        self._shares: dict[int, Share] = {}
        self.all = Share(min(receive_maximum, MAX_BATCHES), MAX_BYTES)

    def __len__(self) -> int:
        """Return the number of batches."""
        return len(self._batches)

    def of(self, ship: int) -> Share:
        """Return what is in flight of one ship."""
        share = self._shares.get(ship)
        return share or Share(min(max(self.all.max_batches // 2, 1), SHIP_BATCHES), SHIP_BYTES)

    def add(self, key: BatchKey, number: int, size: int) -> None:
        """Add a batch that is about to be published."""
        self._batches[key] = _Batch(number, size, AGAIN_S, self._now_s() + _with_jitter(AGAIN_S))
        self.all.count(1, size)
        share = self._shares[key.ship] = self.of(key.ship)
        share.count(1, size)

    def remove(self, key: BatchKey) -> bool:
        """Remove a batch; return whether it was in flight."""
        batch = self._batches.pop(key, None)
        if batch is None:
            return False
        self.all.count(-1, -batch.size)
        share = self._shares[key.ship]
        share.count(-1, -batch.size)
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
