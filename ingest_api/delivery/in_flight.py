"""What is under way between outbox and worker: published, and without a receipt."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from ingest_api.outbox.batch_status import BatchKey

MAX_BATCHES = 1000
MAX_BYTES = 32 * 1024 * 1024
"""What is under way at a time, at most; one batch may always be."""
SHIP_BATCHES = 100
SHIP_BYTES = 4 * 1024 * 1024
"""What is under way of one ship at a time, at most; one batch of it may always be."""
AGAIN_S = 30.0
LATEST_S = 3600.0
GROWTH = 3.0
SOONER = 30.0
"""By what a pause is shorter once the broker has dropped something."""
REFUSED_AGAIN_S = 1.0
REFUSED_LATEST_S = 30.0
JITTER = 0.2


@dataclass(slots=True)
class _UnderWay:
    """A batch, and when it is to be published again."""

    number: int
    size: int
    pause_s: float
    due_s: float
    is_refused: bool = False


@dataclass(slots=True)
class _Share:
    """What is under way of one ship."""

    batches: int = 0
    size: int = 0


class Window:
    """Keeps count of it, for one thread at a time."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """Begin empty; `now_s` is a clock that never goes back."""
        self._now_s = now_s
        self._under_way: dict[BatchKey, _UnderWay] = {}
        self._of_ship: dict[int, _Share] = {}
        self._bytes = 0
        self._max_batches = MAX_BATCHES
        self._max_share = SHIP_BATCHES

    def __len__(self) -> int:
        """Tell how many are under way."""
        return len(self._under_way)

    def has_room(self) -> bool:
        """Tell whether another may be published."""
        return not self._under_way or (len(self._under_way) < self._max_batches and self._bytes < MAX_BYTES)

    def has_much_room(self) -> bool:
        """Tell whether a quarter is free, or more: it is cheaper to read some at a time than one by one."""
        return not self._under_way or (
            len(self._under_way) * 4 <= self._max_batches * 3 and self._bytes * 4 <= MAX_BYTES * 3
        )

    def has_room_for(self, ship: int) -> bool:
        """Tell whether another batch of a ship is within its share."""
        share = self._of_ship.get(ship)
        return share is None or (share.batches < self._max_share and share.size < SHIP_BYTES)

    def room_for(self, ship: int) -> tuple[int, int]:
        """Return how many batches, and how many bytes, of a ship's share are free."""
        share = self._of_ship.get(ship, _Share())
        return self._max_share - share.batches, SHIP_BYTES - share.size

    def has_much_room_for(self, ship: int) -> bool:
        """Tell whether a quarter of a ship's share is free, or more."""
        share = self._of_ship.get(ship)
        return share is None or (share.batches * 4 <= self._max_share * 3 and share.size * 4 <= SHIP_BYTES * 3)

    def begin(self, receive_maximum: int) -> None:
        """Begin anew, over a connection on which the broker takes so many before it has confirmed the first."""
        self._under_way.clear()
        self._of_ship.clear()
        self._bytes = 0
        self._max_batches = min(receive_maximum, MAX_BATCHES)
        self._max_share = min(max(self._max_batches // 2, 1), SHIP_BATCHES)

    def add(self, key: BatchKey, number: int, size: int) -> None:
        """Note one that is about to be published."""
        self._under_way[key] = _UnderWay(number, size, AGAIN_S, self._now_s() + _about(AGAIN_S))
        self._bytes += size
        share = self._of_ship.get(key.ship)
        if share is None:
            share = self._of_ship[key.ship] = _Share()
        share.batches += 1
        share.size += size

    def remove(self, key: BatchKey) -> bool:
        """Note that one is done with; tell whether it was under way."""
        known = self._under_way.pop(key, None)
        if known is None:
            return False
        self._bytes -= known.size
        share = self._of_ship[key.ship]
        share.batches -= 1
        share.size -= known.size
        if not share.batches:
            del self._of_ship[key.ship]
        return True

    def refuse(self, key: BatchKey) -> None:
        """Note that the broker did not take one, or gave it to nobody: it is tried again soon, and then less often."""
        known = self._under_way.get(key)
        if known is not None:
            grown_s = min(known.pause_s * GROWTH, REFUSED_LATEST_S)
            known.pause_s = grown_s if known.is_refused else REFUSED_AGAIN_S
            known.is_refused = True
            known.due_s = self._now_s() + _about(known.pause_s)

    def hurry(self) -> None:
        """Note that the broker has dropped messages, any of these perhaps: they are published again sooner."""
        now_s = self._now_s()
        for each in self._under_way.values():
            each.due_s = min(each.due_s, now_s + _about(each.pause_s / SOONER))

    def take_due(self) -> list[tuple[BatchKey, int]]:
        """Give key and number of those to be published again now; each is due next after a longer while."""
        now_s = self._now_s()
        due = [(key, each) for key, each in self._under_way.items() if each.due_s <= now_s]
        for _, each in due:
            if not each.is_refused:
                each.pause_s = min(each.pause_s * GROWTH, LATEST_S)
            each.due_s = now_s + _about(max(each.pause_s, AGAIN_S))
        return [(key, each.number) for key, each in due]


def _about(pause_s: float) -> float:
    """Spread what would else come all at once."""
    return pause_s * random.uniform(1 - JITTER, 1 + JITTER)
