"""The wall clock that dates batches."""

import threading
import time


def now_us() -> int:
    """Return the microseconds since 1970."""
    return time.time_ns() // 1000


class StrictClock:
    """A wall clock that never returns the same time twice, so that of two batches the later one always counts."""

    def __init__(self) -> None:
        """Start from the wall clock."""
        self._last_us = 0
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Return the microseconds since 1970, always more than the last time."""
        with self._lock:
            us, after_last_us = time.time_ns() // 1000, self._last_us + 1
            self._last_us = us if us > after_last_us else after_last_us  # noqa: FURB136  # `max` takes longer
            return self._last_us
