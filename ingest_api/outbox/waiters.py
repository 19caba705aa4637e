"""Threads that wait until a batch is stored or rejected."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared.contract.status import BatchKey


class Waiters:
    """Wakes the threads that wait for a batch; safe to use from any thread, and from a signal handler."""

    def __init__(self) -> None:
        """Start without threads."""
        self._lock = threading.RLock()  # a signal handler may interrupt a thread that holds it
        self._events: dict[BatchKey, list[threading.Event]] = {}
        self._is_stopped = False

    def __len__(self) -> int:
        """Return how many threads wait."""
        return sum(map(len, self._events.values()))

    @contextmanager
    def waiting_for(self, key: BatchKey) -> Iterator[threading.Event]:
        """Yield an event that `wake` sets."""
        event = threading.Event()
        with self._lock:
            self._events.setdefault(key, []).append(event)
            if self._is_stopped:
                event.set()
        try:
            yield event
        finally:
            with self._lock:
                self._events[key].remove(event)
                if not self._events[key]:
                    del self._events[key]

    def wake(self, key: BatchKey) -> None:
        """Wake the threads that wait for a batch."""
        with self._lock:
            for event in self._events.get(key, ()):
                event.set()

    def stop(self) -> None:
        """Wake all threads, and let no thread wait from now on: the process is about to end."""
        with self._lock:
            self._is_stopped = True
            for key in self._events:
                self.wake(key)
