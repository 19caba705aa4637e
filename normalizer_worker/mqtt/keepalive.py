"""Gives signs of life over a connection while the thread that owns it is busy, for instance in the store."""

import threading
import time
from collections.abc import Callable

MAX_BUSY_S = 600.0
"""A thread that is busy for longer hangs: the broker should miss it, and end its connection."""


class Attendant:
    """A thread that pings for the owner of a connection. As a context manager it spans the owner's own use of it."""

    def __init__(self, ping: Callable[[], object], every_s: float) -> None:
        """Prepare; `ping` is called `every_s` from when the owner has left the connection alone for so long."""
        self._ping = ping
        self._every_s = every_s
        self._in_use = threading.Lock()
        self._left_s = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="attendant", daemon=True)

    def start(self) -> None:
        """Begin to look after the connection."""
        self._left_s = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Leave the connection alone from now on."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> None:
        """Use the connection, and keep the attendant from doing so."""
        self._in_use.acquire()

    def __exit__(self, *_: object) -> None:
        """Leave the connection to the attendant."""
        self._left_s = time.monotonic()
        self._in_use.release()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            if self._in_use.acquire(blocking=False):
                try:
                    if self._every_s <= time.monotonic() - self._left_s <= MAX_BUSY_S:
                        self._ping()
                finally:
                    self._in_use.release()
