"""What every service process does: log, report wrong settings in one line, stop on a signal."""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from shared.domain.errors import InvalidSettings, Unavailable
from shared.runtime.log import log_to_stderr
from shared.runtime.settings import LogSettings

WRONG_SETTINGS = 2
"""Exit status for wrong settings: restarting does not help."""
READY_FD = "POWER_READY_FD"
FINISH_S = 5.0
"""How long a stopping process may finish its work in progress."""
M_MMAP_THRESHOLD = -3
LARGE_BYTES = 1024 * 1024


def run(main: Callable[[], None]) -> None:
    """Run a service, and exit with a status other than 0 if it could not start or continue."""
    try:
        log_to_stderr(LogSettings.load(os.environ).log_level)
        main()
    except (InvalidSettings, Unavailable) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(WRONG_SETTINGS if isinstance(error, InvalidSettings) else 1)


def on_stop(*stops: Callable[[], None]) -> None:
    """Call functions on SIGTERM or SIGINT, on every such signal."""

    def stop(*_: object) -> None:
        for each in stops:
            each()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def end_within(limit_s: float) -> None:
    """Exit with status 0 after a time limit, even if the main thread is waiting; for use with `on_stop`.

    The work in progress is interrupted by SystemExit, so that files and connections are still closed. A second call
    does not extend the limit.
    """
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        return

    def end(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit_s)


def announce_ready() -> None:
    """Report to the parent process that this one is ready, over the pipe that it passed, if any."""
    freeze_startup_objects()
    number = os.environ.pop(READY_FD, None)
    if number is not None:
        with os.fdopen(int(number), "w", encoding="utf-8") as pipe:
            pipe.write("ready\n")


def freeze_startup_objects() -> None:
    """Exempt startup objects from garbage collection.

    They, mostly libraries, live as long as the process; under load they would be scanned often.
    """
    gc.freeze()


def return_large_blocks() -> None:
    """Have glibc return large memory blocks to the system as soon as they are freed.

    By default it keeps them for reuse, separately for each thread: with bodies of 8 MiB the process takes three times
    the memory in use. Other C libraries have no such setting.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def return_free_memory() -> None:
    """Have glibc return what is free inside of its blocks, too, after work that took much memory for a moment.

    Otherwise each thread that did such work keeps its own. It takes some milliseconds.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
