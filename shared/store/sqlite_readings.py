"""The readings of the embedded store: rows of `readings`, and the packs that older ones are in (decision 027).

A reading is in one of them. No row of a ship lies between the first and the last reading of a pack, packs do not
overlap, and a pack is part of one day. So whoever writes between the first and the last reading of a pack makes rows of
it first.
"""

import sqlite3
from operator import itemgetter

import numpy as np

from shared.domain.columns import rows, starts
from shared.domain.readings import PLAIN, UNITS, Kind, ReadingRanges, ReadingRow, Readings
from shared.domain.timestamps import US_PER_S
from shared.store.packs import packed, unpacked
from shared.store.roll_ups import DAY_S
from shared.store.sqlite_put import put

DAY_US = DAY_S * US_PER_S
LEAST, MOST = 16, 512
"""How many readings a pack has: with fewer it saves little; and whoever writes between them makes rows of so many."""
_READ_AHEAD = 8
"""How many readings next to a range are read where some are wanted: enough for slots of three readings."""
_ALL = 2**62

_KIND, _UNIT = (
    " ".join(f"WHEN '{getattr(kind, name)}' THEN {kind.value}" for kind in kinds)
    for name, kinds in (("label", Kind), ("unit", PLAIN))
)
_LABELS = np.array([None if kind in PLAIN else kind.label for kind in Kind])
_BETWEEN = f"""
SELECT ship, time_us, value, CASE kind {_KIND} ELSE CASE unit {_UNIT} END END, sent_at_us,
    duration_us, max_gap_us, rollover
FROM readings WHERE ship = ? AND time_us >= ? AND time_us < ? ORDER BY time_us
"""
_FIRST, _LAST = f"{_BETWEEN} LIMIT ?", f"{_BETWEEN} DESC LIMIT ?"
_PUT = """
INSERT OR REPLACE INTO readings
    (ship, time_us, value, unit, kind, sent_at_us, duration_us, max_gap_us, rollover) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_PUT_PLAIN = "INSERT OR REPLACE INTO readings (ship, time_us, value, unit, sent_at_us) VALUES (?, ?, ?, ?, ?)"
_REMOVE = "DELETE FROM readings WHERE ship = ? AND time_us >= ? AND time_us < ?"

_IN_PACKS = "ship = ? AND first_us > ? AND first_us < ? AND last_us >= ?"
_PACKS = f"SELECT pack FROM packed_readings WHERE {_IN_PACKS} ORDER BY first_us"
_LAST_PACKS = f"{_PACKS} DESC"
_TAKE_PACKS = f"DELETE FROM packed_readings WHERE {_IN_PACKS} RETURNING pack"
_PACKED_UNTIL = "SELECT max(last_us) FROM packed_readings"
_PUT_PACK = "INSERT INTO packed_readings (ship, first_us, last_us, pack) VALUES (?, ?, ?, ?)"
_NEXT_PACK = "SELECT min(first_us) FROM packed_readings WHERE ship = ? AND first_us > ? AND first_us < ?"
_NEXT_ROW = "SELECT ship, time_us FROM readings WHERE (ship, time_us) >= (?, ?) ORDER BY ship, time_us LIMIT 1"

Place = tuple[int, int]
"""A place in the order of all readings: ship and time."""
_moment_us = itemgetter(1)
"""Of a `ReadingRow`."""


class ReadingTables:
    """Both tables, over one connection, for as long as nobody else writes: a transaction, or a snapshot."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Look up how far packs reach: mostly that is before all that is read or written, and none is looked for."""
        self._connection, self._execute = connection, connection.execute
        (until_us,) = self._execute(_PACKED_UNTIL).fetchone()
        self._packed_until_us: int = -1 if until_us is None else until_us

    def around(self, ranges: ReadingRanges) -> Readings:
        """See `ReadingStore.readings_around`."""
        found: list[ReadingRow] = []
        for ship, start_us, end_us, before, after in ranges.rows():
            if before:
                found += self.last(ship, 0, start_us, max(before, _READ_AHEAD))
            found += self._first(ship, start_us, end_us, _ALL)
            if after:
                found += self._first(ship, end_us, _ALL, max(after, _READ_AHEAD))
        return _readings_of(found)

    def first(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        """Return the first `count` readings of a ship in ``[start_us, end_us)`` by time, or all there are."""
        return _readings_of(self._first(ship, start_us, end_us, count))

    def _first(self, ship: int, start_us: int, end_us: int, count: int) -> list[ReadingRow]:
        found = self._execute(_FIRST, (ship, start_us, end_us, count)).fetchall()
        until_us = _moment_us(found[-1]) if len(found) == count else end_us
        return self._with_packed(found, _PACKS, ship, start_us, until_us, count)[:count]

    def last(self, ship: int, start_us: int, end_us: int, count: int) -> list[ReadingRow]:
        """Return the last `count` readings of a ship in ``[start_us, end_us)`` by time, or all there are."""
        found = self._execute(_LAST, (ship, start_us, end_us, count)).fetchall()[::-1]
        since_us = _moment_us(found[0]) if len(found) == count else start_us
        return self._with_packed(found, _LAST_PACKS, ship, since_us, end_us, count)[-count:]

    def _with_packed(  # noqa: PLR0913, PLR0917  # a range, and what is read of it
        self, found: list[ReadingRow], packs: str, ship: int, start_us: int, end_us: int, count: int
    ) -> list[ReadingRow]:
        """Add readings in ``[start_us, end_us)`` of packs, as they come, to rows, until there are `count`."""
        if start_us > self._packed_until_us:
            return found
        added: list[ReadingRow] = []
        for (pack,) in self._execute(packs, _in_packs(ship, start_us, end_us)):
            added += [row for row in unpacked(ship, pack).rows() if start_us <= _moment_us(row) < end_us]
            if len(added) >= count:
                break
        return sorted(found + added, key=_moment_us) if added else found

    def put(self, readings: Readings) -> None:
        """Store readings; each replaces what is stored for the same ship and timestamp."""
        old = readings[readings.moment_us <= self._packed_until_us]
        if len(old):
            first = starts(old.ship, old.moment_us // DAY_US).nonzero()[0]
            least, most = (each.reduceat(old.moment_us, first) for each in (np.minimum, np.maximum))
            for ship, first_us, last_us in rows(old.ship[first], least, most):
                self._unpack(ship, first_us, last_us + 1)
        self._put_rows(readings)

    def _put_rows(self, readings: Readings) -> None:
        if readings.stated is None and (readings.kind <= max(PLAIN)).all():  # nearly all are: it is quicker
            units = UNITS[readings.kind]
            columns = (readings.ship, readings.moment_us, readings.value, units, readings.sent_at_us)
            put(self._connection, _PUT_PLAIN, *columns)
            return
        value = np.where(readings.kind == Kind.UNKNOWN, 0.0, readings.value)
        plain = (readings.ship, readings.moment_us, value, UNITS[readings.kind], _LABELS[readings.kind])
        put(self._connection, _PUT, *plain, readings.sent_at_us, *readings.what_is_stated().columns())

    def remove(self, ship: int, start_us: int, end_us: int) -> None:
        """Remove the readings of a ship in ``[start_us, end_us)``."""
        if start_us <= self._packed_until_us:
            self._unpack(ship, start_us, end_us)
        self._execute(_REMOVE, (ship, start_us, end_us))

    def _unpack(self, ship: int, start_us: int, end_us: int) -> None:
        """Make rows of the packs that reach into ``[start_us, end_us)``."""
        for (pack,) in self._execute(_TAKE_PACKS, _in_packs(ship, start_us, end_us)).fetchall():
            self._put_rows(unpacked(ship, pack))

    def pack(self, place: Place, until_us: int, *, least: int = LEAST, most: int = MOST) -> Place | None:
        """Pack the next rows of a ship and day, before `until_us`, if these are not too few.

        Returns:
            Where to go on; None if no rows follow.

        """
        found = self._execute(_NEXT_ROW, place).fetchone()
        if found is None:
            return None
        ship, first_us = found
        if first_us >= until_us:
            return ship + 1, 0
        end_us = min(first_us // DAY_US * DAY_US + DAY_US, until_us)
        (next_us,) = self._execute(_NEXT_PACK, (ship, first_us, end_us)).fetchone()
        end_us = end_us if next_us is None else next_us
        readings = Readings.from_rows(self._execute(_FIRST, (ship, first_us, end_us, most)))
        if len(readings) < least:
            return ship, end_us
        last_us = int(readings.moment_us[-1])
        self._execute(_PUT_PACK, (ship, first_us, last_us, packed(readings)))
        self._execute(_REMOVE, (ship, first_us, last_us + 1))
        return ship, last_us + 1


def _in_packs(ship: int, start_us: int, end_us: int) -> tuple[int, int, int, int]:
    """Return the parameters of `_IN_PACKS` for the packs that reach into ``[start_us, end_us)``."""
    return ship, start_us - DAY_US, end_us, start_us


def _readings_of(found: list[ReadingRow]) -> Readings:
    readings = Readings.from_rows(found)
    readings.value[readings.kind == Kind.UNKNOWN] = np.nan
    return readings
