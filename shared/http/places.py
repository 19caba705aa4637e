"""Bounds how many requests last at a time, and how many of them one client may have."""

from collections import Counter
from threading import Lock


class Places:
    """Counts the places taken, in all and by each client; safe to use from any thread."""

    def __init__(self, most: int, most_of_one: int) -> None:
        """Begin with all places free."""
        self._most, self._most_of_one = most, most_of_one
        self._lock = Lock()
        self._of_client = Counter[str]()

    def take(self, client: str) -> bool:
        """Take a place for a client; return whether there was one."""
        with self._lock:
            has_room = self._of_client.total() < self._most and self._of_client[client] < self._most_of_one
            if has_room:
                self._of_client[client] += 1
            return has_room

    def give_back(self, client: str) -> None:
        """Free a place that was taken for a client."""
        with self._lock:
            self._of_client[client] -= 1
            self._of_client = +self._of_client  # without those that have none
