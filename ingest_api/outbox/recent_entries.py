"""The newest entries of the outbox, in memory, so that publishing them does not read them back from the disk."""

import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence

from ingest_api.outbox.entry import WaitingEntry, first_within

MAX_BYTES = 8 * 1024 * 1024


class RecentEntries:
    """The waiting entries with the highest numbers, until they have been read once; safe to use from any thread."""

    def __init__(self, last: int) -> None:
        """Start empty; entries up to number `last` are on the disk only."""
        self._lock = threading.Lock()
        self._entries: OrderedDict[int, WaitingEntry] = OrderedDict()
        self._bytes = 0
        self._removed_up_to = last
        """Entries up to this number may still wait, on the disk."""

    @property
    def newest(self) -> int:
        """The number of the newest entry that was ever added, or was on the disk before."""
        with self._lock:
            return next(reversed(self._entries)) if self._entries else self._removed_up_to

    def add(self, new: Sequence[WaitingEntry]) -> None:
        """Add entries in their order. Where they are too many, the oldest are removed."""
        with self._lock:
            for entry in new:
                self._entries[entry.number] = entry
                self._bytes += len(entry.payload)
            while self._bytes > MAX_BYTES:
                self._remove_first()

    def remove(self, number: int) -> None:
        """Remove an entry that waits no longer."""
        with self._lock:
            known = self._entries.pop(number, None)
            self._bytes -= len(known.payload) if known else 0

    def after(
        self, number: int, limit: int, limit_bytes: int, without_ships: Collection[int] = ()
    ) -> list[WaitingEntry] | None:
        """Return the first entries after a number, as `Outbox.waiting` does; None where they must be read from disk.

        Entries up to that number have been read, and are removed.
        """
        with self._lock:
            if number < self._removed_up_to:
                return None
            while self._entries and next(iter(self._entries)) <= number:
                self._remove_first()
            wanted = (each for each in self._entries.values() if each.ship not in without_ships)
            return first_within(wanted, limit, limit_bytes)

    def _remove_first(self) -> None:
        self._removed_up_to, first = self._entries.popitem(last=False)
        self._bytes -= len(first.payload)
