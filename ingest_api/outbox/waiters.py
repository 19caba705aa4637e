"""Threads that wait until a batch is stored or rejected."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared.contract.status import BatchKey


class Waiters:
    """Wakes the few threads that wait for a batch. It needs no lock: a signal handler may interrupt any of it."""

    def __init__(self) -> None:
        """Start without threads."""
        self._waiting: list[tuple[BatchKey, threading.Event]] = []
        self._is_stopped = False

    @contextmanager
    def waiting_for(self, key: BatchKey) -> Iterator[threading.Event]:
        """Yield an event that `wake` sets."""
        waiter = key, threading.Event()
        self._waiting.append(waiter)
        if self._is_stopped:
            waiter[1].set()
        try:
            yield waiter[1]
        finally:
            self._waiting.remove(waiter)

    def wake(self, key: BatchKey) -> None:
        """Wake the threads that wait for a batch."""
        for waited_for, event in list(self._waiting):
            if waited_for == key:
                event.set()

    def stop(self) -> None:
        """Wake all threads, and let no thread wait from now on: the process is about to end."""
        self._is_stopped = True
        for _, event in list(self._waiting):
            event.set()
