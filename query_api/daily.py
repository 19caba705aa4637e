"""Once a day, compares each ship's forecasts of the last days with what came: in a process of its own, with pauses."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from query_api.forecast.accuracy import DAYS, Accuracies, WatchedDay, days_from
from query_api.forecast.steps import DAY_S
from shared.domain.errors import Unavailable
from shared.domain.slots import Window
from shared.store.port import ShipEnergy

log = logging.getLogger(__name__)

LATE_S = 3600
"""A day is compared so long after its end: its last readings may come late."""
MOST_SHIPS = 1000
"""Of more, only those that used most are compared."""
STOP_S = 1.0
UNAVAILABLE = 1
"""The status with which the process ends if the store does not answer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast ships are compared.

    Attributes:
        first_s: how long after the start the first comparison may begin.
        poll_s: how often to look for ships that are to be compared: a day has ended, a ship is new, or a try failed.
        rest: after each ship comes a pause so many times as long as it took: a quarter of one processor is used.

    """

    first_s: float = 300.0
    poll_s: float = 600.0
    rest: float = 3.0


class TopShips(Protocol):
    """The part of `EnergyReader` that says which ships there are."""

    def top_ships(self, window: Window, count: int) -> list[ShipEnergy]:
        """See `EnergyReader`."""
        ...


class Ended(Exception):
    """The process has ended before it has answered."""


def due_s(now_s: float) -> int:
    """Return the end of the last day that is to be compared by now, seconds since 1970."""
    return int(now_s - LATE_S) // DAY_S * DAY_S


class Daily:
    """Compares in the background, from `start` to `stop`; what it finds is in `found`."""

    def __init__(
        self, store: TopShips, found: Accuracies, pace: Pace = Pace(), now_s: Callable[[], float] = time.time
    ) -> None:
        """Do nothing yet; `now_s` is seconds since 1970."""
        self._store, self._found, self._pace, self._now_s = store, found, pace, now_s
        self._ending, self._lock = threading.Event(), threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="daily", daemon=True)
        self._failed: dict[int, int] = {}
        """The ships that ended the process, and the day on which they did; they are left out on this day."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and with it the process."""
        self._ending.set()
        with self._lock:
            if self._process is not None:
                self._process.kill()
        if self._thread.is_alive():
            self._thread.join(STOP_S)

    def _run(self) -> None:
        pause_s = self._pace.first_s
        while not self._ending.wait(pause_s):
            pause_s = self._pace.poll_s
            try:
                self._compare(due_s(self._now_s()))
            except (Unavailable, Ended) as error:
                if not self._ending.is_set():
                    log.warning("comparing forecasts with what came goes on in %.0f s: %s", self._pace.poll_s, error)

    def _compare(self, end_s: int) -> None:
        """Compare the days before `end_s` of all ships for which that is not done; the largest come first."""
        window = Window(max(end_s - DAYS * DAY_S, 0), end_s)
        ships = [each.ship for each in self._store.top_ships(window, MOST_SHIPS)]
        self._found.keep_only(set(ships))
        self._failed = {ship: day_s for ship, day_s in self._failed.items() if day_s == end_s}
        waiting = [ship for ship in ships if ship not in self._failed and not self._found.is_found(ship, end_s)]
        if not waiting:
            return
        with self._child() as process:
            for ship in waiting:
                began_s = time.monotonic()
                self._found.put(ship, end_s, self._days(process, ship, end_s))
                took_s = time.monotonic() - began_s
                if self._ending.wait(self._pace.rest * took_s) or due_s(self._now_s()) != end_s:
                    return

    def _days(self, process: subprocess.Popen[str], ship: int, end_s: int) -> list[WatchedDay]:
        try:
            return _asked(process, (ship, end_s, self._found.days(ship)))
        except Ended:
            if process.wait() != UNAVAILABLE:
                self._failed[ship] = end_s
            raise Ended(f"the process for ship {ship} ended with status {process.wait()}") from None

    @contextmanager
    def _child(self) -> Iterator[subprocess.Popen[str]]:
        """Start the process, and end it after the block."""
        with self._lock:
            if self._ending.is_set():
                raise Ended
            self._process = _started()
        try:
            yield self._process
        finally:
            with self._lock:
                process, self._process = self._process, None
            process.communicate()  # it ends with its input


def _started() -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "query_api.watcher"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    try:
        return subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the service, which ends it
        )
    except OSError as error:
        raise Ended(f"the process cannot be started: {error}") from None


def _asked(process: subprocess.Popen[str], question: tuple[int, int, list[WatchedDay]]) -> list[WatchedDay]:
    """Send a question as a line, and return the days of the answer; raises `Ended` if there is none."""
    if process.stdin is None or process.stdout is None:
        raise TypeError("the process has no pipes")
    try:
        process.stdin.write(f"{json.dumps(question)}\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise Ended from None
    line = process.stdout.readline()
    if not line.endswith("\n"):
        raise Ended
    return days_from(json.loads(line))
