"""Packs the readings of past days in the embedded store, a few at a time (decision 027)."""

from time import monotonic

from shared.domain.clock import now_us
from shared.runtime.sqlite_files import SqliteFile
from shared.store.sqlite_readings import DAY_US, Place, ReadingTables

WEEK_US = 7 * DAY_US
FROM_START: Place = (0, 0)
STEP_S = 0.01
SHARE = 0.05
"""How much of the time packing may take: the worker does nothing else meanwhile."""
PASS_S = 3600.0
"""The pause after a pass over all ships: what is unpacked for late readings is packed again once in this time."""


class Packing:
    """Passes over all readings, and packs those that are older than a week; for the one thread that writes the file."""

    def __init__(self, file: SqliteFile) -> None:
        """Begin the first pass with the first step."""
        self._file = file
        self._place: Place | None = FROM_START
        self._due_s = 0.0

    def step(self) -> None:
        """Go on with the pass for some milliseconds, in one transaction, if it is time to.

        Raises:
            Unavailable: the file is locked or inaccessible, or the disk is full.

        """
        began_s = monotonic()
        if began_s < self._due_s:
            return
        self._due_s = began_s + PASS_S  # should it fail: it must not hold up what is urgent
        until_us = (now_us() - WEEK_US) // DAY_US * DAY_US
        with self._file.transaction() as connection:
            tables, place = ReadingTables(connection), self._place
            while place and monotonic() < began_s + STEP_S:
                place = tables.pack(place, until_us)
        ended_s = monotonic()
        self._place = place or FROM_START
        self._due_s = ended_s + ((ended_s - began_s) / SHARE if place else PASS_S)
