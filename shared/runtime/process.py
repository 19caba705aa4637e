"""What every service's process does alike: logging, one line for a wrong setting, stopping on a signal."""

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
"""The exit status of a process that must not be started again as it is."""
READY_FD = "POWER_READY_FD"
FINISH_S = 5.0
"""How long a process that is told to end goes on with what it has in hand."""
M_MMAP_THRESHOLD = -3
LARGE_BYTES = 1024 * 1024


def run(main: Callable[[], None]) -> None:
    """Run a service to its end, and leave with a status that says how it went."""
    try:
        log_to_stderr(LogSettings.load(os.environ).log_level)
        main()
    except InvalidSettings as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(WRONG_SETTINGS)
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


def on_stop(*stops: Callable[[], None]) -> None:
    """Call these, once or more often, when the process is told to end."""

    def stop(*_: object) -> None:
        for each in stops:
            each()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def end_within(limit_s: float) -> None:
    """Have this process end so soon, with status 0, whatever its main thread waits for then; for `on_stop`.

    What it was doing is broken off as if it had been killed, but with everything closed in order. Called again,
    it gives no more time.
    """
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        return

    def end(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, limit_s)


def announce_ready() -> None:
    """Tell whoever started this process, and gave it a pipe for that, that it is ready to work."""
    keep_what_is_made()
    number = os.environ.pop(READY_FD, None)
    if number is not None:
        with os.fdopen(int(number), "w", encoding="utf-8") as pipe:
            pipe.write("ready\n")


def keep_what_is_made() -> None:
    """Have Python's collector of garbage pass over all that there is by now: libraries, which stay to the end.

    It would look through them again and again, the more often the more there is to do.
    """
    gc.freeze()


def give_back_memory() -> None:
    """Have large blocks go back to the system as soon as they are free.

    Once glibc has seen some it keeps them, in pieces, for each of many threads: of bodies of 8 MiB three times as much
    stays in memory as is in use. Other systems' libraries have no such setting.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
