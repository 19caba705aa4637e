"""The log of every process: lines on standard error, and no flood of lines that are alike."""

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
    """Have everything of a level, or above it, written to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Sparing())
    logging.basicConfig(level=level, format=FORMAT, handlers=[handler])


@dataclass(slots=True)
class _Kind:
    """Lines of one kind: since when they are counted, how many were written since, how many were not."""

    since_s: float
    written: int = 0
    left_out: int = 0


class Sparing(logging.Filter):
    """Writes `BURST` lines of one kind in `WITHIN_S` seconds; more of them are counted, and the next one says how many.

    A full outbox, a ship that sends rubbish or an outage would fill the disk with what has been said. Lines are of one
    kind if they differ in their arguments only; the tracebacks of two types of errors are of two kinds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing written; `now_s` is a clock that never goes back."""
        super().__init__()
        self._now_s = now_s
        self._lock = threading.RLock()  # what is logged may be interrupted by what logs, too
        self._kinds: dict[_Key, _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is to be written; it may be given a remark."""
        with self._lock:
            error = record.exc_info[0] if record.exc_info else None
            written, left_out = self._count((record.name, record.levelno, str(record.msg), error))
        remarks = [f"{left_out} more of this kind were left out"] if left_out else []
        if written == BURST:
            remarks.append(f"more of this kind are only counted for up to {WITHIN_S:.0f} s")
        if remarks:
            record.msg = f"{record.msg} ({'; '.join(remarks)})"  # not formatted here, where a wrong line would raise
        return written <= BURST

    def _count(self, key: _Key) -> tuple[int, int]:
        """Count one; give which one it is, and how many were left out that nothing has told of yet."""
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
