"""Logging to standard error, with a limit on the rate of similar lines."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
BURST = 20
WITHIN_S = 10.0
MAX_KINDS = 1000

_Key = tuple[str, int, str, type[BaseException] | None]


def log_to_stderr(level: str) -> None:
    """Write messages of a level, or above it, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level, format=FORMAT, handlers=[handler])


@dataclass(slots=True)
class _Kind:
    """Lines of one kind: the start of the period, the lines in it, and those left out and not yet reported."""

    since_s: float
    written: int = 0
    left_out: int = 0


class RateLimit(logging.Filter):
    """Lets through `BURST` lines of one kind per `WITHIN_S` seconds; the next line says how many were left out.

    Otherwise an outage, a full outbox or a ship that sends invalid data could fill the disk with repeated lines. Lines
    are of one kind if only their arguments differ; tracebacks of different error types are of different kinds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """Create the filter; `now_s` is a monotonic clock."""
        super().__init__()
        self._now_s = now_s
        self._lock = threading.RLock()  # reentrant: a signal handler that logs may interrupt a thread that logs
        self._kinds: dict[_Key, _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to write a line, and append the number of lines that were left out."""
        with self._lock:
            error = record.exc_info[0] if record.exc_info else None
            written, left_out = self._count((record.name, record.levelno, str(record.msg), error))
        remarks = [f"{left_out} more of this kind were left out"] if left_out else []
        if written == BURST:
            remarks.append(f"further lines of this kind are only counted for up to {WITHIN_S:.0f} s")
        if remarks:
            record.msg = f"{record.msg} ({'; '.join(remarks)})"  # not formatted here, where wrong arguments would raise
        return written <= BURST

    def _count(self, key: _Key) -> tuple[int, int]:
        """Count a line; return its number in the period, and how many lines were left out and not yet reported."""
        now_s = self._now_s()
        if len(self._kinds) >= MAX_KINDS:
            self._kinds.clear()
        kind = self._kinds.setdefault(key, _Kind(now_s))
        if now_s - kind.since_s >= WITHIN_S:
            kind.since_s, kind.written = now_s, 0
        kind.written += 1
        if kind.written > BURST:
            kind.left_out += 1
            return kind.written, 0
        left_out, kind.left_out = kind.left_out, 0
        return kind.written, left_out
