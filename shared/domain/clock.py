"""The wall clock, as senders and receivers of batches look at it."""

import threading
import time


def now_us() -> int:
    """Give the microseconds since 1970."""
    return time.time_ns() // 1000


class StrictClock:
    """The wall clock, made to rise with every look, so that of two batches the later one always counts."""

    def __init__(self) -> None:
        """Start from the wall clock."""
        self._last_us = 0
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Give the microseconds since 1970, always more than the time before."""
        with self._lock:
            self._last_us = max(now_us(), self._last_us + 1)
            return self._last_us
