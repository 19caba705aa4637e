"""How much of the outbox is taken, and by whom."""

import threading
from collections.abc import Iterable

from shared.domain.errors import Unavailable


class QuotaFull(Unavailable):
    """One sender has as much in the outbox as one may have; there is room for others."""


class Usage:
    """Counts batches and bytes, in all and by sender; safe to use from any thread."""

    def __init__(self, max_bytes: int, max_sender_bytes: int, waiting: Iterable[tuple[str, int, int]]) -> None:
        """Begin with what waits: senders, each with the number of its batches and their bytes."""
        self.max_bytes = max_bytes
        self.max_sender_bytes = max_sender_bytes
        self.batches = self.size_bytes = 0
        self._lock = threading.Lock()
        self._of_sender: dict[str, int] = {}
        for sender, batches, size_bytes in waiting:
            self.batches += batches
            self.size_bytes += size_bytes
            self._of_sender[sender] = size_bytes

    def has_room(self, size_bytes: int) -> bool:
        """Tell whether a batch of a sender that has nothing in the outbox would fit."""
        return self.size_bytes + size_bytes <= self.max_bytes

    def reserve(self, sender: str, size_bytes: int) -> None:
        """Count a batch before it is on the disk.

        Raises:
            QuotaFull: its sender has too much waiting; nothing is counted.
            Unavailable: there is no room; nothing is counted.

        """
        with self._lock:
            if not self.has_room(size_bytes):
                raise Unavailable(
                    f"the outbox is full: {self.batches} batches of {self.size_bytes} bytes wait to be stored"
                )
            of_sender = self._of_sender.get(sender, 0)
            if of_sender + size_bytes > self.max_sender_bytes:
                raise QuotaFull(f"the quota of {sender} is full: {of_sender} bytes of it wait to be stored")
            self.batches, self.size_bytes = self.batches + 1, self.size_bytes + size_bytes
            self._of_sender[sender] = of_sender + size_bytes

    def give_back(self, sender: str, size_bytes: int) -> None:
        """Count a batch no more."""
        with self._lock:
            self.batches, self.size_bytes = self.batches - 1, self.size_bytes - size_bytes
            of_sender = self._of_sender.pop(sender) - size_bytes
            if of_sender:
                self._of_sender[sender] = of_sender
