"""The embedded store: one SQLite file, for one machine. `sqlite_schema.sql` describes its tables."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.domain.columns import F64, Columns, rows
from shared.domain.covariates import Covariates
from shared.domain.deletions import Deletions
from shared.domain.readings import ReadingRanges, Readings
from shared.domain.slots import NOWHEN, SLOT_S, ShipWindows, Slots, Window
from shared.domain.timestamps import US_PER_S
from shared.runtime.sqlite_files import SqliteFile
from shared.store.port import AHEAD_SLOTS, NEWEST, FleetSlots, ShipEnergy, ShipHistory, ShipPage, SlotEnergy
from shared.store.roll_ups import DAY_S, added
from shared.store.sqlite_packing import Packing
from shared.store.sqlite_put import put
from shared.store.sqlite_readings import ReadingTables

FILE_NAME = "power.sqlite"
_SCHEMA, _FROM_1, _FROM_2, _FROM_3, _FROM_4 = (
    Path(__file__).with_name(f"sqlite_{name}.sql").read_text("utf-8")
    for name in ("schema", "from_1", "from_2", "from_3", "from_4")
)
_SCHEMA_VERSION = 5
_PART = 20_000
_FEW = 16
"""Up to so many slots, adding each one to the roll-ups takes less time than summing them up first."""
_KWH = "whole_kwh + rest_nwh / 1e12"

_DELETIONS = "SELECT ship, start_us, end_us, sent_at_us FROM deletions WHERE ship = ? ORDER BY start_us"
_FORGET_DELETIONS = "DELETE FROM deletions WHERE ship = ?"
_PUT_DELETION = "INSERT INTO deletions (ship, start_us, end_us, sent_at_us) VALUES (?, ?, ?, ?)"
_COVARIATES = "SELECT ship, sent_at_us, content FROM covariates WHERE ship = ?"
_PUT_COVARIATES = "INSERT OR REPLACE INTO covariates (ship, sent_at_us, content) VALUES (?, ?, ?)"
_PUT_SLOT = """
INSERT OR REPLACE INTO energy (ship, start_s, kwh, covered_s, provisional, estimated_s) VALUES (?, ?, ?, ?, ?, ?)
"""
_ADDED = """
    whole_kwh = whole_kwh + excluded.whole_kwh,
    rest_nwh = rest_nwh + excluded.rest_nwh,
    covered_us = covered_us + excluded.covered_us
"""
_ADD_TO_ROLL_UPS = (
    f"""
    INSERT INTO fleet_energy
        (start_s, whole_kwh, rest_nwh, covered_us, ships, whole_ships, provisional_ships, estimated_us, mark)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_ADDED},
        ships = ships + excluded.ships,
        whole_ships = whole_ships + excluded.whole_ships,
        provisional_ships = provisional_ships + excluded.provisional_ships,
        estimated_us = estimated_us + excluded.estimated_us,
        mark = excluded.mark
    """,
    f"""
    INSERT INTO ship_day_energy (day_s, ship, whole_kwh, rest_nwh, covered_us, mark)
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_ADDED}, mark = excluded.mark
    """,
    f"""
    INSERT INTO ship_energy (ship, whole_kwh, rest_nwh, covered_us, whole_slots)
    VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_ADDED}, whole_slots = whole_slots + excluded.whole_slots
    """,
)
"""What takes the columns of `added`."""
_SLOTS = """
SELECT ship, start_s, kwh, covered_s, provisional, estimated_s FROM energy
WHERE ship = ? AND start_s >= ? AND start_s < ? ORDER BY start_s
"""
_KWH_OF_SLOTS = "SELECT kwh FROM energy WHERE ship = ? AND start_s >= ? AND start_s < ? ORDER BY start_s"
_EDGES = """
SELECT (SELECT min(start_s) FROM energy WHERE ship = ? AND start_s >= ? AND start_s < ?),
    (SELECT max(start_s) FROM energy WHERE ship = ? AND start_s >= ? AND start_s < ?)
"""
_STARTS = """
SELECT group_concat(start_s) FROM (
    SELECT start_s FROM energy WHERE ship = ? AND start_s >= ? AND start_s < ? ORDER BY start_s
)
"""
_TAKE_SLOT = "DELETE FROM energy WHERE ship = ? AND start_s = ?"
_FLEET = f"""
SELECT start_s, {_KWH}, covered_us / {US_PER_S:.1f}, provisional_ships > 0, estimated_us / {US_PER_S:.1f},
    ships, whole_ships
FROM fleet_energy
WHERE ships > 0 AND start_s >= ? AND start_s < ? ORDER BY start_s
"""
_TOP_OF_ALL_TIME = f"""
SELECT ship, {_KWH}, covered_us FROM ship_energy
WHERE covered_us > 0 ORDER BY round({_KWH}, 6) DESC, ship LIMIT ?
"""
# CROSS JOIN keeps SQLite from reading all of `energy` and looking each ship up, which it thinks is cheaper.
_FIRST_EDGE, _LAST_EDGE = (
    f"""
SELECT e.ship, :{edge}_sign * e.whole_kwh, :{edge}_sign * e.rest_nwh, :{edge}_sign * e.covered_us FROM ship_energy s
CROSS JOIN energy e ON e.ship = s.ship AND e.start_s >= :{edge}_from_s AND e.start_s < :{edge}_to_s
"""
    for edge in ("first", "last")
)
_TOP = f"""
SELECT ship, total(whole_kwh) + total(rest_nwh) / 1e12 AS kwh, total(covered_us) FROM (
    SELECT ship, whole_kwh, rest_nwh, covered_us FROM ship_day_energy WHERE day_s >= :first_day_s AND day_s < :end_day_s
    UNION ALL {_FIRST_EDGE} UNION ALL {_LAST_EDGE}
) GROUP BY ship HAVING total(covered_us) > 0 ORDER BY round(kwh, 6) DESC, ship LIMIT :count
"""
# The maximum of the readings is a subquery of its own: otherwise SQLite would read all of them for it.
_SHIPS = f"""
SELECT ship,
    whole_slots - (
        SELECT count(*) FROM (
            SELECT covered_s FROM energy WHERE energy.ship = ship_energy.ship AND start_s > :until_s LIMIT {AHEAD_SLOTS}
        ) WHERE covered_s >= 900
    ),
    (SELECT min(start_s) FROM energy WHERE energy.ship = ship_energy.ship),
    (SELECT max(start_s) FROM energy WHERE energy.ship = ship_energy.ship AND start_s <= :until_s),
    (
        SELECT min(us) FROM (
            SELECT min(time_us) AS us FROM readings WHERE readings.ship = ship_energy.ship
            UNION ALL SELECT min(first_us) FROM packed_readings p WHERE p.ship = ship_energy.ship
        )
    ),
    (
        SELECT max(us) FROM (
            SELECT (SELECT max(time_us) FROM readings WHERE readings.ship = ship_energy.ship) AS us
            UNION ALL SELECT (
                SELECT last_us FROM packed_readings p WHERE p.ship = ship_energy.ship ORDER BY first_us DESC LIMIT 1
            )
        ) WHERE us > :until_us
    ),
    (SELECT max(first_us) FROM packed_readings p WHERE p.ship = ship_energy.ship AND first_us <= :until_us),
    (
        SELECT group_concat(time_us) FROM (
            SELECT time_us FROM readings WHERE readings.ship = ship_energy.ship AND time_us <= :until_us
            ORDER BY time_us DESC LIMIT {NEWEST}
        )
    )
FROM ship_energy WHERE ship > :after AND covered_us > 0 ORDER BY ship LIMIT :count
"""
# Ship after ship: their readings are in one index, which is long.
_KNOWN_SHIPS = """
WITH RECURSIVE own (ship) AS (
    SELECT :after UNION ALL SELECT (
        SELECT min(next) FROM (
            SELECT min(ship) AS next FROM readings WHERE ship > own.ship
            UNION ALL SELECT min(ship) FROM packed_readings WHERE ship > own.ship
        )
    ) FROM own WHERE ship IS NOT NULL LIMIT :count + 1
)
SELECT ship FROM own WHERE ship > :after
UNION SELECT ship FROM deletions WHERE ship > :after
UNION SELECT ship FROM covariates WHERE ship > :after ORDER BY ship LIMIT :count
"""
# Day by day, so that of each day only the ships that are asked for are read.
_OF_SHIPS = f"""
SELECT ship, total(whole_kwh) + total(rest_nwh) / 1e12 FROM (
    SELECT d.ship, d.whole_kwh, d.rest_nwh, d.covered_us FROM json_each(:days) days
    CROSS JOIN ship_day_energy d ON d.day_s = days.value AND d.ship BETWEEN :first_ship AND :last_ship
    UNION ALL {_FIRST_EDGE} WHERE s.ship BETWEEN :first_ship AND :last_ship
    UNION ALL {_LAST_EDGE} WHERE s.ship BETWEEN :first_ship AND :last_ship
) GROUP BY ship HAVING total(covered_us) > 0
"""


_FIRST = "SELECT start_s FROM {} AND start_s >= ? AND start_s < ? ORDER BY start_s LIMIT 1"
_LAST = "SELECT start_s FROM {} AND start_s >= ? AND start_s < ? ORDER BY start_s DESC LIMIT 1"
_OF_FLEET, _OF_SHIP = "fleet_energy WHERE ships > 0", "energy WHERE ship = ?"
_FLEET_MARKS = "SELECT count(*), sum(mark) FROM fleet_energy WHERE start_s >= ? AND start_s < ?"
# The days are looked up one by one: their table is in the order of day and ship.
_SHIP_MARKS = """
WITH RECURSIVE days (day_s) AS (SELECT ? UNION ALL SELECT day_s + 86400 FROM days WHERE day_s + 86400 < ?)
SELECT count(*), sum(mark) FROM days CROSS JOIN ship_day_energy USING (day_s) WHERE ship = ?
"""

Rows = TypeVar("Rows", bound=Columns)


class SqliteStore:
    """Both halves of the port on one file; safe to use from several threads and processes."""

    def __init__(self, folder: Path, *, cache_kib: int = 8192) -> None:
        """Open `power.sqlite` in a folder, and make it where it is missing.

        Raises:
            InvalidSettings: the file cannot be used.

        """
        self._file = SqliteFile(
            folder / FILE_NAME,
            _SCHEMA,
            _SCHEMA_VERSION,
            upgrades={1: _FROM_1, 2: _FROM_2, 3: _FROM_3, 4: _FROM_4},
            cache_kib=cache_kib,
        )
        self._packing = Packing(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def transaction(self) -> AbstractContextManager[object]:
        """See `ReadingStore`."""
        return self._file.transaction()

    def readings_around(self, ranges: ReadingRanges) -> Readings:
        """See `ReadingStore`."""
        with self._file.errors():
            return ReadingTables(self._file.connection()).around(ranges)

    def put_readings(self, readings: Readings, replaced: Readings | None = None) -> None:  # noqa: ARG002  # rows are replaced whole
        """See `ReadingStore`."""
        with self._file.errors():
            tables = ReadingTables(self._file.connection())
            for part in _parts(readings):
                tables.put(part)

    def remove_readings(self, ship: int, start_us: int, end_us: int) -> None:
        """See `ReadingStore`."""
        with self._file.errors():
            ReadingTables(self._file.connection()).remove(ship, start_us, end_us)

    def put_deletions(self, deletions: Deletions) -> None:
        """See `ReadingStore`."""
        self._for_each(_FORGET_DELETIONS, np.unique(deletions.ship))
        self._put(_PUT_DELETION, deletions.ship, deletions.start_us, deletions.end_us, deletions.sent_at_us)

    def put_covariates(self, covariates: Covariates) -> None:
        """See `ReadingStore`."""
        with self._file.errors():
            self._file.connection().execute(_PUT_COVARIATES, covariates)

    def stored_slots(self, windows: ShipWindows) -> Slots:
        """See `ReadingStore`."""
        with self._file.errors():
            execute = self._file.connection().execute
            return Slots.from_rows([row for window in windows.rows() for row in execute(_SLOTS, window)])

    def put_slots(self, slots: Slots, was: Slots) -> None:
        """See `ReadingStore`."""
        for part, before in zip(_parts(slots), _parts(was), strict=True):
            gone, there = part[part.covered_s == 0], part[part.covered_s > 0]
            self._for_each(_TAKE_SLOT, gone.ship, gone.start_s)
            energy = (there.kwh, there.covered_s, there.provisional, there.estimated_s)
            self._put(_PUT_SLOT, there.ship, there.start_s, *energy)
            for statement, columns in zip(_ADD_TO_ROLL_UPS, added(part, before, _rounded, few=_FEW), strict=True):
                # Beyond 64 bits a sum goes on as a REAL.
                self._put(
                    statement, *(np.array(each, np.float64) if isinstance(each, list) else each for each in columns)
                )

    def _put(self, statement: str, *columns: NDArray[Any]) -> None:
        with self._file.errors():
            put(self._file.connection(), statement, *columns)

    def _for_each(self, statement: str, *columns: NDArray[Any]) -> None:
        with self._file.errors():
            self._file.connection().executemany(statement, rows(*columns))

    def pinned(self, name: str, value: str) -> str:
        """See `ReadingStore`."""
        with self._file.transaction() as connection:
            connection.execute("INSERT INTO pinned VALUES (?, ?) ON CONFLICT DO NOTHING", (name, value))
            return str(connection.execute("SELECT value FROM pinned WHERE name = ?", (name,)).fetchone()[0])

    def tidy(self) -> bool:
        """See `ReadingStore`: what is left to pack can wait."""
        self._packing.step()
        return False

    def slots(self, ship: int, window: Window) -> Slots:
        """See `EnergyReader`."""
        return self._read(Slots, _SLOTS, (ship, *window.bounds_s()))

    def energy(self, ship: int, window: Window) -> SlotEnergy:
        """See `EnergyReader`. Column by column: a row of two would take half as long again, as a tuple of Python's."""
        asked = ship, *window.bounds_s()
        with self._file.errors(), self._file.snapshot() as connection:
            kwh = np.fromiter(chain.from_iterable(connection.execute(_KWH_OF_SLOTS, asked)), np.float64)
            first_s, last_s = connection.execute(_EDGES, asked * 2).fetchone()
            if len(kwh) and last_s - first_s == (len(kwh) - 1) * SLOT_S:  # without a hole
                return SlotEnergy(np.arange(first_s, last_s + 1, SLOT_S), kwh)
            (starts,) = connection.execute(_STARTS, asked).fetchone()
        return SlotEnergy(np.fromstring(starts or "", np.int64, sep=","), kwh)

    def fleet(self, window: Window) -> FleetSlots:
        """See `EnergyReader`."""
        return self._read(FleetSlots, _FLEET, window.bounds_s())

    def top_ships(self, window: Window, count: int) -> list[ShipEnergy]:
        """See `EnergyReader`."""
        if window == Window():
            rows = self._rows(_TOP_OF_ALL_TIME, (count,))
        else:
            rows = self._rows(_TOP, {**_parts_of(window), "count": count})
        return [ShipEnergy(ship, kwh, covered_us / US_PER_S) for ship, kwh, covered_us in rows]

    def ships(self, after: int, count: int, windows: Sequence[Window], until_us: int) -> ShipPage:
        """See `EnergyReader`."""
        bounds = {"until_us": until_us, "until_s": until_us // US_PER_S}
        rows = self._rows(_SHIPS, {"after": after, "count": count + 1, **bounds})
        goes_on, rows = len(rows) > count, rows[:count]
        kwh = [self._kwh(rows[0][0], rows[-1][0], window) for window in windows] if rows else []
        ships = [
            ShipHistory(
                ship,
                first_us,
                self._newest_us(ship, until_us, newest_us, packed_us),
                ahead_us,
                0 if last_s is None else (last_s - first_s) // SLOT_S + 1,
                whole,
                tuple(each.get(ship) for each in kwh),
            )
            for ship, whole, first_s, last_s, first_us, ahead_us, packed_us, newest_us in rows
            if first_us is not None
        ]
        return ShipPage(ships, rows[-1][0] if goes_on else None)

    def _newest_us(self, ship: int, until_us: int, in_rows: str | None, packed_us: int | None) -> tuple[int, ...]:
        """Return a ship's newest timestamps: those of rows, unless its last pack, from `packed_us` on, has some."""
        found = sorted(map(int, in_rows.split(","))) if in_rows else []
        if packed_us is None or (len(found) == NEWEST and packed_us < found[0]):
            return tuple(found)
        with self._file.snapshot() as connection:
            newest = ReadingTables(connection).last(ship, 0, until_us + 1, NEWEST)
        return tuple(moment_us for _, moment_us, *_ in newest)

    def _kwh(self, first_ship: int, last_ship: int, window: Window) -> dict[int, float]:
        """Give the energy of those ships, from one to another, that have a slot in a window."""
        parts = _parts_of(window)
        days = json.dumps(list(range(parts["first_day_s"], parts["end_day_s"], DAY_S)))
        ships = {"first_ship": first_ship, "last_ship": last_ship}
        return dict(self._rows(_OF_SHIPS, {**parts, **ships, "days": days}))

    def known_ships(self, after: int, count: int) -> list[int]:
        """See `EnergyReader`."""
        return [ship for (ship,) in self._rows(_KNOWN_SHIPS, {"after": after, "count": count})]

    def readings(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        """See `EnergyReader`."""
        with self._file.snapshot() as connection:
            return ReadingTables(connection).first(ship, start_us, end_us, count)

    def deletions(self, ships: Sequence[int]) -> Deletions:
        """See `EnergyReader`."""
        return Deletions.from_rows([row for ship in sorted(ships) for row in self._rows(_DELETIONS, (ship,))])

    def covariates(self, ship: int) -> Covariates | None:
        """See `EnergyReader`."""
        return next((Covariates(*row) for row in self._rows(_COVARIATES, (ship,))), None)

    stored_readings, stored_deletions, stored_covariates = readings, deletions, covariates

    def ping(self) -> None:
        """See `EnergyReader`."""
        self._rows("SELECT start_s FROM fleet_energy LIMIT 1", ())

    def extent(self) -> Window | None:
        """See `EnergyReader`."""
        return None if (window := self.reach(None)) == NOWHEN else window

    def first_slot_s(self, ship: int | None, window: Window) -> int | None:
        """See `EnergyReader`."""
        return self._start_s(_FIRST, ship, window)

    def last_slot_s(self, ship: int | None, window: Window) -> int | None:
        """See `EnergyReader`."""
        return self._start_s(_LAST, ship, window)

    def reach(self, ship: int | None) -> Window:
        """See `EnergyReader`."""
        first_s, last_s = self.first_slot_s(ship, Window()), self.last_slot_s(ship, Window())
        return NOWHEN if first_s is None or last_s is None else Window(first_s, last_s + SLOT_S)

    def _start_s(self, which: str, ship: int | None, window: Window) -> int | None:
        query, bounds = which.format(_OF_FLEET if ship is None else _OF_SHIP), window.bounds_s()
        rows = self._rows(query, bounds if ship is None else (ship, *bounds))
        return rows[0][0] if rows else None

    def version(self, ship: int | None, window: Window) -> str | None:
        """See `EnergyReader`: the marks of the fleet's slots, or of a ship's days."""
        if ship is None:
            (found,) = self._rows(_FLEET_MARKS, window.bounds_s())
        else:
            start_s, end_s = window.cut_to(self.reach(ship)).bounds_s()
            (found,) = self._rows(_SHIP_MARKS, (start_s // DAY_S * DAY_S, end_s, ship))
        return f"{found[0]} {found[1]}"

    def _rows(self, query: str, parameters: tuple[int | str, ...] | Mapping[str, int | str]) -> list[tuple[Any, ...]]:
        with self._file.errors(), self._file.reading() as connection:
            return connection.execute(query, parameters).fetchall()

    def _read(self, columns: type[Rows], query: str, parameters: tuple[int, ...]) -> Rows:
        with self._file.errors(), self._file.reading() as connection:
            return columns.from_rows(connection.execute(query, parameters))


def _rounded(number: F64) -> F64:
    """Round as SQLite's `round` does, which the columns of `energy` are made by."""
    return np.trunc(number + np.copysign(0.5, number))


def _parts(rows: Rows) -> Iterator[Rows]:
    """Take columns in parts: as Python's objects, a row needs ten times the memory."""
    return (rows[start : start + _PART] for start in range(0, len(rows), _PART))


def _parts_of(window: Window) -> dict[str, int]:
    """Cut a window into the whole days that it is summed up from, and the slots at its two edges.

    Where it has more than half of a day, the whole day counts, and the slots outside are subtracted: the sign is -1.
    All sums are of whole numbers, so that nothing is lost.
    """
    start_s, end_s = window.bounds_s()
    first_day_s, end_day_s = start_s // DAY_S * DAY_S, end_s // DAY_S * DAY_S
    first, last = (start_s, first_day_s + DAY_S, 1), (end_day_s, end_s, 1)
    if first_day_s >= end_day_s:  # no midnight inside
        first_day_s, end_day_s, first, last = 0, 0, (start_s, end_s, 1), (0, 0, 1)
    elif start_s - first_day_s <= DAY_S // 2:
        first = (first_day_s, start_s, -1)
    else:
        first_day_s += DAY_S
    if last[1] - last[0] > DAY_S // 2:
        end_day_s += DAY_S
        last = (end_s, end_day_s, -1)
    return {"first_day_s": first_day_s, "end_day_s": end_day_s, **_edge("first", *first), **_edge("last", *last)}


def _edge(name: str, from_s: int, to_s: int, sign: int) -> dict[str, int]:
    return {f"{name}_from_s": from_s, f"{name}_to_s": to_s, f"{name}_sign": sign}
