"""The reading half of the store in PostgreSQL: what the query service asks. `schema.sql` describes the tables.

A ship's rows are read in its partition. What concerns all ships is summed up over the partitions, each of which is looked
up by itself: `fences` names them.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from shared.domain.columns import Columns
from shared.domain.readings import Readings
from shared.domain.slots import NOWHEN, SLOT_S, Slots, Window
from shared.domain.timestamps import US_PER_S
from shared.store.port import AHEAD_SLOTS, NEWEST, FleetSlots, ShipEnergy, ShipHistory, ShipPage
from shared.store.postgres.arrays import columns_of
from shared.store.postgres.columns import READING, READINGS, SLOT, SLOTS
from shared.store.postgres.connections import Connections
from shared.store.postgres.roll_ups import DAY_S
from shared.store.postgres.server import Server

MAX_KNOWN_SHIPS = 100_000
NO_PARTITION = -1
_KWH = "sum(nwh)::float8 / 1e12"

_SLOTS = f"""
SELECT {SLOTS} FROM (
    SELECT {SLOT} FROM energy WHERE partition = %s AND ship = %s AND start_s >= %s AND start_s < %s ORDER BY start_s
) AS e
"""
_READINGS = f"""
SELECT {READINGS} FROM (
    SELECT {READING} FROM readings WHERE partition = %s AND ship = %s AND time_us >= %s AND time_us < %s
    ORDER BY time_us LIMIT %s
) AS r
"""
_FLEET = f"""
SELECT array_agg(start_s), array_agg(kwh), array_agg(covered_s), array_agg(provisional), array_agg(ships),
    array_agg(whole) FROM (
    SELECT start_s, {_KWH} AS kwh, sum(covered_us)::float8 / 1e6 AS covered_s, sum(provisional_ships) > 0 AS provisional,
        sum(ships)::bigint AS ships, sum(whole_ships)::bigint AS whole
    FROM fences JOIN fleet_energy USING (partition)
    WHERE ships > 0 AND start_s >= %s AND start_s < %s GROUP BY start_s ORDER BY start_s
) AS f
"""
_RANKED = "ORDER BY round(kwh::numeric, 6) DESC, ship LIMIT %s"
_TOP_OF_ALL_TIME = f"""
SELECT ship, nwh::float8 / 1e12 AS kwh, covered_us::float8 / 1e6 FROM ship_energy WHERE covered_us > 0
ORDER BY round(nwh / 1000000) DESC, ship LIMIT %s
"""
_EDGE_NWH = "trunc(e.kwh)::numeric * 1000000000000 + round((e.kwh - trunc(e.kwh)) * 1e12)::numeric"
