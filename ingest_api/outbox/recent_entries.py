"""What the outbox has taken a moment ago, in memory: so it need not be read back from the disk to be published."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ingest_api.outbox.batch_status import BatchKey

MAX_BYTES = 8 * 1024 * 1024


class Waiting(NamedTuple):
    """One that waits to be stored; `number` tells the order in which they were accepted."""

    number: int
    batch_id: str
    ship: int
    digest: bytes
    payload: bytes

    @property
    def key(self) -> BatchKey:
        """What identifies the batch."""
        return BatchKey(self.ship, self.batch_id)


def first_of(waiting: Iterable[Waiting], limit: int, limit_bytes: int) -> list[Waiting]:
    """Give the first of some; of more than one no more than that many bytes."""
    found: list[Waiting] = []
    for each in waiting:
        limit_bytes -= len(each.payload)
        if len(found) >= limit or (found and limit_bytes < 0):
            break
        found.append(each)
    return found


class Fresh:
    """Those that wait with the highest numbers, until they have been read once; safe to use from any thread."""

    def __init__(self, last: int) -> None:
        """Begin empty; all up to the number `last` are on the disk alone."""
        self._lock = threading.Lock()
        self._waiting: OrderedDict[int, Waiting] = OrderedDict()
        self._bytes = 0
        self._missing = last
        """The highest number that was given up here: it may be waiting all the same."""

    @property
    def newest(self) -> int:
        """The number of the newest batch that was ever here, or was on the disk before."""
        with self._lock:
            return next(reversed(self._waiting)) if self._waiting else self._missing

    def add(self, new: Sequence[Waiting]) -> None:
        """Keep some, in their order, as far as there is room for the last of them."""
        with self._lock:
            for each in new:
                self._waiting[each.number] = each
                self._bytes += len(each.payload)
            while self._bytes > MAX_BYTES:
                self._give_up_first()

    def remove(self, number: int) -> None:
        """Forget one, which does not wait any more."""
        with self._lock:
            known = self._waiting.pop(number, None)
            self._bytes -= len(known.payload) if known else 0

    def after(
        self, number: int, limit: int, limit_bytes: int, passing_over: Collection[int] = ()
    ) -> list[Waiting] | None:
        """Give the first with a greater number, as `Outbox.waiting` does; None where only the disk can tell.

        Those up to that number have been read, and are given up.
        """
        with self._lock:
            if number < self._missing:
                return None
            while self._waiting and next(iter(self._waiting)) <= number:
                self._give_up_first()
            if not passing_over:
                return first_of(self._waiting.values(), limit, limit_bytes)
            return first_of(
                (each for each in self._waiting.values() if each.ship not in passing_over), limit, limit_bytes
            )

    def _give_up_first(self) -> None:
        self._missing, first = self._waiting.popitem(last=False)
        self._bytes -= len(first.payload)
