"""The space that is used in the outbox, in all and by sender."""

import threading
from collections.abc import Iterable

from shared.domain.errors import Unavailable


class QuotaFull(Unavailable):
    """The sender's quota is used up; there is room for other senders."""


class Usage:
    """Counts batches and bytes, in all and by sender; safe to use from any thread."""

    def __init__(self, max_bytes: int, max_sender_bytes: int, waiting: Iterable[tuple[str, int, int]]) -> None:
        """Start with what waits: for each sender the number of its batches and their bytes."""
        self.max_bytes = max_bytes
        self.max_sender_bytes = max_sender_bytes
        self.batches = self.size_bytes = 0
        self._lock = threading.Lock()
        self._by_sender: dict[str, int] = {}
        for sender, batches, size_bytes in waiting:
            self.batches += batches
            self.size_bytes += size_bytes
            self._by_sender[sender] = size_bytes

    def has_room(self, size_bytes: int) -> bool:
        """Return whether a batch of this size fits, if its sender's quota is not used up."""
        return self.size_bytes + size_bytes <= self.max_bytes

    def reserve(self, sender: str, size_bytes: int) -> None:
        """Count a batch, before it is written.

        Raises:
            QuotaFull: the sender's quota is used up; nothing is counted.
            Unavailable: the outbox is full; nothing is counted.

        """
        with self._lock:
            if not self.has_room(size_bytes):
                raise Unavailable(
                    f"the outbox is full: {self.batches} batches of {self.size_bytes} bytes wait to be stored"
                )
            used = self._by_sender.get(sender, 0)
            if used + size_bytes > self.max_sender_bytes:
                raise QuotaFull(f"the quota of {sender} is used up: {used} bytes are waiting to be stored")
            self.batches, self.size_bytes = self.batches + 1, self.size_bytes + size_bytes
            self._by_sender[sender] = used + size_bytes

    def release(self, sender: str, size_bytes: int) -> None:
        """Stop counting a batch."""
        with self._lock:
            self.batches, self.size_bytes = self.batches - 1, self.size_bytes - size_bytes
            used = self._by_sender.pop(sender) - size_bytes
            if used:
                self._by_sender[sender] = used
