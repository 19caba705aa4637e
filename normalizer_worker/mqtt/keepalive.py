"""Pings the broker while the thread that owns the connection is busy elsewhere, for instance in the store."""

import threading
import time
from collections.abc import Callable

MAX_BUSY_S = 600.0
"""An owner that is busy for longer hangs: the broker should miss it, and end its connection."""
TURN_S = 1.0
"""How long a ping that is due waits for the owner to be busy elsewhere."""


class Keepalive:
    """A thread that pings. As a context manager it spans the time in which its owner leaves the connection alone."""

    def __init__(self, ping: Callable[[], object], every_s: float) -> None:
        """Prepare; `ping` is called `every_s`, while the owner is busy elsewhere."""
        self._ping = ping
        self._every_s = every_s
        self._connection = threading.Lock()
        """Held by who uses the connection: the owner, but within the context."""
        self._connection.acquire()
        self._busy_since_s = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keepalive", daemon=True)

    def start(self) -> None:
        """Begin to ping."""
        self._thread.start()

    def stop(self) -> None:
        """Leave the connection alone from now on."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> None:
        """Leave the connection to the thread."""
        self._busy_since_s = time.monotonic()
        self._connection.release()

    def __exit__(self, *_: object) -> None:
        """Take the connection back."""
        self._connection.acquire()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            if self._connection.acquire(timeout=min(TURN_S, self._every_s)):
                try:
                    if time.monotonic() - self._busy_since_s <= MAX_BUSY_S:
                        self._ping()
                finally:
                    self._connection.release()
