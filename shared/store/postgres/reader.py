"""The reading half of the store in PostgreSQL: what the query service asks. `schema.sql` describes the tables.

A ship's rows are read in its partition. What concerns all ships is summed up over the partitions, each of which is
looked up by itself: `fences` names them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.domain.covariates import Covariates
from shared.domain.deletions import Deletions, joined
from shared.domain.readings import Readings
from shared.domain.slots import NOWHEN, SLOT_S, Slots, Window
from shared.domain.timestamps import US_PER_S
from shared.store.port import AHEAD_SLOTS, NEWEST, FleetSlots, ShipEnergy, ShipHistory, ShipPage, SlotEnergy
from shared.store.postgres.arrays import columns_of
from shared.store.postgres.connections import Connections
from shared.store.postgres.selected import (
    COVARIATES_OF_SHIP,
    DELETIONS,
    READINGS_OF_SHIP,
    SLOT,
    SLOTS,
    covariates_of,
    readings_of,
)
from shared.store.postgres.server import Server
from shared.store.roll_ups import DAY_S

MAX_KNOWN_SHIPS = 100_000
NO_PARTITION = -1
_NWH_PER_KWH = 1e12

_SLOTS = f"""
SELECT {SLOTS} FROM (
    SELECT {SLOT} FROM energy WHERE partition = %s AND ship = %s AND start_s >= %s AND start_s < %s ORDER BY start_s
) AS e
"""
_ENERGY = """
SELECT array_agg(start_s), array_agg(kwh) FROM (
    SELECT start_s, kwh FROM energy WHERE partition = %s AND ship = %s AND start_s >= %s AND start_s < %s
    ORDER BY start_s
) AS e
"""
_DELETIONS = f"""
SELECT {DELETIONS} FROM ships JOIN deletions USING (partition, ship) WHERE ship = ANY(%s::bigint[])
"""
_FLEET = f"""
SELECT array_agg(start_s), array_agg(kwh), array_agg(covered_s), array_agg(provisional), array_agg(estimated_s),
    array_agg(ships), array_agg(whole)
FROM (
    SELECT start_s, sum(nwh)::float8 / {_NWH_PER_KWH} AS kwh, sum(covered_us)::float8 / {US_PER_S} AS covered_s,
        sum(provisional_ships) > 0 AS provisional, sum(estimated_us)::float8 / {US_PER_S} AS estimated_s,
        sum(ships)::bigint AS ships, sum(whole_ships)::bigint AS whole
    FROM fences JOIN fleet_energy USING (partition)
    WHERE ships > 0 AND start_s >= %s AND start_s < %s GROUP BY start_s ORDER BY start_s
) AS f
"""
# What answers show has six decimals: a million nanowatt-hours are the last of them.
_TOP_OF_ALL_TIME = """
SELECT ship, nwh::float8, covered_us FROM ship_energy
WHERE covered_us > 0 ORDER BY round(nwh::float8 / 1e6) DESC, ship LIMIT %s
"""
# A window's first and last hours are summed up from slots, ship by ship; so few doubles of whole numbers are exact.
_EDGE = f"""
SELECT s.ship, e.nwh, e.covered_us FROM ship_energy s CROSS JOIN LATERAL (
    SELECT sum(trunc(kwh))::numeric * {int(_NWH_PER_KWH)}
        + sum(round((kwh - trunc(kwh)) * {_NWH_PER_KWH}))::numeric AS nwh,
        sum(round(covered_s * {US_PER_S}))::bigint AS covered_us
    FROM energy WHERE partition = s.partition AND ship = s.ship AND start_s >= %s AND start_s < %s
) AS e
"""
_TOP = f"""
SELECT ship, sum(nwh)::float8, sum(covered_us)::bigint FROM (
    SELECT ship, sum(nwh) AS nwh, sum(covered_us)::bigint AS covered_us
    FROM fences JOIN ship_day_energy USING (partition) WHERE day_s >= %s AND day_s < %s GROUP BY ship
    UNION ALL {_EDGE} UNION ALL {_EDGE}
) AS parts GROUP BY ship HAVING sum(covered_us) > 0 ORDER BY round(sum(nwh)::float8 / 1e6) DESC, ship LIMIT %s
"""
# Day by day, so that of each day only the ships that are asked for are read.
_OF_SHIPS = f"""
SELECT ship, sum(nwh)::float8 / {_NWH_PER_KWH} FROM (
    SELECT d.ship, d.nwh, d.covered_us
    FROM fences CROSS JOIN generate_series(%s::bigint, %s::bigint - 1, {DAY_S}) AS days (day_s)
    JOIN ship_day_energy d ON d.partition = fences.partition AND d.day_s = days.day_s AND d.ship BETWEEN %s AND %s
    UNION ALL {_EDGE} WHERE s.ship BETWEEN %s AND %s UNION ALL {_EDGE} WHERE s.ship BETWEEN %s AND %s
) AS parts GROUP BY ship HAVING sum(covered_us) > 0
"""
_KNOWN_SHIPS = "SELECT ship FROM ships WHERE ship > %s ORDER BY ship LIMIT %s"
_OWN = "partition = page.partition AND ship = page.ship"
_PAGE = """
SELECT ship, partition FROM ships JOIN ship_energy USING (partition, ship)
WHERE ship > %s AND covered_us > 0 ORDER BY ship LIMIT %s
"""
# Not together with the page: Citus then joins each partition's rows where they are.
_SHIPS = f"""
SELECT ship,
    whole_slots - (
        SELECT count(*) FROM (
            SELECT covered_s FROM energy WHERE {_OWN} AND start_s > %s ORDER BY start_s LIMIT {AHEAD_SLOTS}
        ) AS ahead WHERE covered_s >= {SLOT_S}
    ),
    (SELECT min(start_s) FROM energy WHERE {_OWN}),
    (SELECT max(start_s) FROM energy WHERE {_OWN} AND start_s <= %s),
    (SELECT min(time_us) FROM readings WHERE {_OWN}),
    (SELECT max(time_us) FROM readings WHERE {_OWN} AND time_us > %s),
    ARRAY(SELECT time_us FROM readings WHERE {_OWN} AND time_us <= %s ORDER BY time_us DESC LIMIT {NEWEST})
FROM ship_energy AS page WHERE partition = ANY(%s::bigint[]) AND ship = ANY(%s::bigint[]) ORDER BY ship
"""
_FIRST_OF_SHIP = "SELECT min(start_s) FROM energy WHERE partition = %s AND ship = %s AND start_s >= %s AND start_s < %s"
_LAST_OF_SHIP = _FIRST_OF_SHIP.replace("min", "max")
_FIRST_OF_FLEET = """
SELECT min(edge_s) FROM (
    SELECT (
        SELECT start_s FROM fleet_energy
        WHERE partition = fences.partition AND ships > 0 AND start_s >= %s AND start_s < %s ORDER BY start_s LIMIT 1
    ) AS edge_s FROM fences
) AS edges
"""
_LAST_OF_FLEET = _FIRST_OF_FLEET.replace("min", "max").replace("ORDER BY start_s", "ORDER BY start_s DESC")
_FLEET_MARKS = """
SELECT count(*), sum(mark) FROM fences JOIN fleet_energy USING (partition) WHERE start_s >= %s AND start_s < %s
"""
# The days are looked up one by one: their table is in the order of day and ship.
_SHIP_MARKS = f"""
SELECT count(*), sum(mark) FROM generate_series(%s::bigint, %s::bigint - 1, {DAY_S}) AS days (day_s)
JOIN ship_day_energy USING (day_s) WHERE partition = %s AND ship = %s
"""


class PostgresReader:
    """The port's `EnergyReader`; safe to use from several threads."""

    def __init__(self, server: Server) -> None:
        """Read from a server; nothing is opened."""
        self._reads = Connections(server)
        self._partitions: dict[int, int] = {}
        """By ship. Once stored, it stays."""

    def close(self) -> None:
        """Close the connections."""
        self._reads.close()

    def read(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query of one's own, such as of another table, and return its rows."""
        return self._reads.rows(query, parameters)

    def slots(self, ship: int, window: Window) -> Slots:
        """See `EnergyReader`."""
        return columns_of(Slots, self.read(_SLOTS, (self._partition(ship), ship, *window.bounds_s()))[0])

    def energy(self, ship: int, window: Window) -> SlotEnergy:
        """See `EnergyReader`."""
        return columns_of(SlotEnergy, self.read(_ENERGY, (self._partition(ship), ship, *window.bounds_s()))[0])

    def fleet(self, window: Window) -> FleetSlots:
        """See `EnergyReader`."""
        return columns_of(FleetSlots, self.read(_FLEET, window.bounds_s())[0])

    def top_ships(self, window: Window, count: int) -> list[ShipEnergy]:
        """See `EnergyReader`."""
        if window == Window():
            rows = self.read(_TOP_OF_ALL_TIME, (count,))
        else:
            start_s, first_day_s, end_day_s, end_s = _days(window)
            rows = self.read(_TOP, (first_day_s, end_day_s, start_s, first_day_s, end_day_s, end_s, count))
        return [ShipEnergy(ship, nwh / _NWH_PER_KWH, covered_us / US_PER_S) for ship, nwh, covered_us in rows]

    def ships(self, after: int, count: int, windows: Sequence[Window], until_us: int) -> ShipPage:
        """See `EnergyReader`."""
        until_s = until_us // US_PER_S
        page = self.read(_PAGE, (after, count + 1))
        goes_on, page = len(page) > count, page[:count]
        if not page:
            return ShipPage([], None)
        of, partitions = (np.array(each) for each in zip(*page, strict=True))
        rows = self.read(_SHIPS, (until_s, until_s, until_us, until_us, np.unique(partitions), of))
        kwh = [self._kwh(page[0][0], page[-1][0], window) for window in windows]
        ships = [
            ShipHistory(
                ship,
                first_us,
                tuple(newest_us[::-1].tolist()),
                ahead_us,
                0 if last_s is None else (last_s - first_s) // SLOT_S + 1,
                whole,
                tuple(each.get(ship) for each in kwh),
            )
            for ship, whole, first_s, last_s, first_us, ahead_us, newest_us in rows
            if first_us is not None
        ]
        return ShipPage(ships, page[-1][0] if goes_on else None)

    def _kwh(self, first_ship: int, last_ship: int, window: Window) -> dict[int, float]:
        """Return the energy of those ships, from one to another, that have a slot in a window."""
        start_s, first_day_s, end_day_s, end_s = _days(window)
        ships = (first_ship, last_ship)
        edges = (start_s, first_day_s, *ships, end_day_s, end_s, *ships)
        return dict(self.read(_OF_SHIPS, (first_day_s, end_day_s, *ships, *edges)))

    def known_ships(self, after: int, count: int) -> list[int]:
        """See `EnergyReader`."""
        return [ship for (ship,) in self.read(_KNOWN_SHIPS, (after, count))]

    def readings(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        """See `EnergyReader`."""
        return readings_of(self.read(READINGS_OF_SHIP, (self._partition(ship), ship, start_us, end_us, count))[0])

    def deletions(self, ships: Sequence[int]) -> Deletions:
        """See `EnergyReader`."""
        found = columns_of(Deletions, self.read(_DELETIONS, (np.array(ships, np.int64),))[0])
        return joined(found, found[:0])

    def covariates(self, ship: int) -> Covariates | None:
        """See `EnergyReader`."""
        return covariates_of(ship, self.read(COVARIATES_OF_SHIP, (self._partition(ship), ship))[0])

    def ping(self) -> None:
        """See `EnergyReader`."""
        self.read("SELECT epoch FROM fences LIMIT 1")

    def extent(self) -> Window | None:
        """See `EnergyReader`."""
        return None if (window := self.reach(None)) == NOWHEN else window

    def first_slot_s(self, ship: int | None, window: Window) -> int | None:
        """See `EnergyReader`."""
        return self._start_s(_FIRST_OF_FLEET, _FIRST_OF_SHIP, ship, window)

    def last_slot_s(self, ship: int | None, window: Window) -> int | None:
        """See `EnergyReader`."""
        return self._start_s(_LAST_OF_FLEET, _LAST_OF_SHIP, ship, window)

    def _start_s(self, of_fleet: str, of_ship: str, ship: int | None, window: Window) -> int | None:
        bounds = window.bounds_s()
        if ship is None:
            rows = self.read(of_fleet, bounds)
        else:
            rows = self.read(of_ship, (self._partition(ship), ship, *bounds))
        return None if rows[0][0] is None else int(rows[0][0])

    def reach(self, ship: int | None) -> Window:
        """See `EnergyReader`."""
        first_s, last_s = self.first_slot_s(ship, Window()), self.last_slot_s(ship, Window())
        return NOWHEN if first_s is None or last_s is None else Window(first_s, last_s + SLOT_S)

    def version(self, ship: int | None, window: Window) -> str | None:
        """See `EnergyReader`: the marks of the fleet's slots, or of a ship's days."""
        if ship is None:
            (found,) = self.read(_FLEET_MARKS, window.bounds_s())
        else:
            start_s, end_s = window.cut_to(self.reach(ship)).bounds_s()
            (found,) = self.read(_SHIP_MARKS, (start_s // DAY_S * DAY_S, end_s, self._partition(ship), ship))
        return f"{found[0]} {found[1]}"

    def _partition(self, ship: int) -> int:
        """Return the partition of a ship; `NO_PARTITION` if nothing of it is stored."""
        found = self._partitions.get(ship)
        if found is not None:
            return found
        rows = self.read("SELECT partition FROM ships WHERE ship = %s", (ship,))
        if not rows:
            return NO_PARTITION
        if len(self._partitions) >= MAX_KNOWN_SHIPS:
            self._partitions.clear()
        self._partitions[ship] = int(rows[0][0])
        return int(rows[0][0])


def _days(window: Window) -> tuple[int, int, int, int]:
    """Return a window's start, the start and the end of the whole days in it, and its end."""
    start_s, end_s = window.bounds_s()
    first_day_s, end_day_s = -(-start_s // DAY_S) * DAY_S, end_s // DAY_S * DAY_S
    if first_day_s >= end_day_s:  # no whole day: all of it is an edge
        first_day_s = end_day_s = end_s
    return start_s, first_day_s, end_day_s, end_s
