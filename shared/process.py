"""What every service's process does alike: logging, one line for a wrong setting, stopping on a signal."""

import logging
import os
import signal
import sys
from collections.abc import Callable

from shared.errors import InvalidSettings, Unavailable
from shared.settings import LogSettings

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
WRONG_SETTINGS = 2
"""The exit status of a process that must not be started again as it is."""
READY_FD = "POWER_READY_FD"


def run(main: Callable[[], None]) -> None:
    """Run a service to its end, and leave with a status that says how it went."""
    try:
        level = LogSettings.load(os.environ).log_level
        logging.basicConfig(stream=sys.stderr, level=level, format=LOG_FORMAT)
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


def announce_ready() -> None:
    """Tell whoever started this process, and gave it a pipe for that, that it is ready to work."""
    number = os.environ.pop(READY_FD, None)
    if number is not None:
        with os.fdopen(int(number), "w", encoding="utf-8") as pipe:
            pipe.write("ready\n")
