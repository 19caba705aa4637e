"""What is under way between outbox and worker: published, and without a receipt."""

import random
from collections.abc import Callable
from dataclasses import dataclass

MAX_BATCHES = 1000
MAX_BYTES = 32 * 1024 * 1024
"""What is under way at a time, at most; one batch may always be."""
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


class Window:
    """Keeps count of it, for one thread at a time."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        """Begin empty; `now_s` is a clock that never goes back."""
        self._now_s = now_s
        self._under_way: dict[str, _UnderWay] = {}
        self._bytes = 0
        self._max_batches = MAX_BATCHES

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

    def begin(self, receive_maximum: int) -> None:
        """Begin anew, over a connection on which the broker takes so many before it has confirmed the first."""
        self._under_way.clear()
        self._bytes = 0
        self._max_batches = min(receive_maximum, MAX_BATCHES)

    def add(self, batch_id: str, number: int, size: int) -> None:
        """Note one that is about to be published."""
        self._under_way[batch_id] = _UnderWay(number, size, AGAIN_S, self._now_s() + _about(AGAIN_S))
        self._bytes += size

    def remove(self, batch_id: str) -> bool:
        """Note that one is done with; tell whether it was under way."""
        known = self._under_way.pop(batch_id, None)
        if known is not None:
            self._bytes -= known.size
        return known is not None

    def refuse(self, batch_id: str) -> None:
        """Note that the broker did not take one, or gave it to nobody: it is tried again soon, and then less often."""
        known = self._under_way.get(batch_id)
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

    def take_due(self) -> list[tuple[str, int]]:
        """Give name and number of those to be published again now; each is due next after a longer while."""
        now_s = self._now_s()
        due = [(batch_id, each) for batch_id, each in self._under_way.items() if each.due_s <= now_s]
        for _, each in due:
            if not each.is_refused:
                each.pause_s = min(each.pause_s * GROWTH, LATEST_S)
            each.due_s = now_s + _about(max(each.pause_s, AGAIN_S))
        return [(batch_id, each.number) for batch_id, each in due]


def _about(pause_s: float) -> float:
    """Spread what would else come all at once."""
    return pause_s * random.uniform(1 - JITTER, 1 + JITTER)
