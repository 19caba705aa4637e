"""The statements that add a change of slots to the roll-ups in PostgreSQL."""

from collections.abc import Iterator

import numpy as np

from shared.domain.slots import Slots
from shared.store.postgres.writer import Statement
from shared.store.roll_ups import NWH_PER_KWH, added

_NWH = f"u.whole * {NWH_PER_KWH} + u.rest"
_ADDED = "covered_us = r.covered_us + EXCLUDED.covered_us, nwh = r.nwh + EXCLUDED.nwh"
_FLEET = f"""
INSERT INTO fleet_energy AS r
    (partition, start_s, nwh, covered_us, ships, whole_ships, provisional_ships, estimated_us, mark)
SELECT %s, u.start_s, {_NWH}, u.covered_us, u.ships, u.whole_ships, u.provisional_ships, u.estimated_us, u.mark
FROM unnest(%s::bigint[], %s::numeric[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[])
    AS u (start_s, whole, rest, covered_us, ships, whole_ships, provisional_ships, estimated_us, mark)
ON CONFLICT (partition, start_s) DO UPDATE SET {_ADDED},
    ships = r.ships + EXCLUDED.ships, whole_ships = r.whole_ships + EXCLUDED.whole_ships,
    provisional_ships = r.provisional_ships + EXCLUDED.provisional_ships,
    estimated_us = r.estimated_us + EXCLUDED.estimated_us, mark = EXCLUDED.mark
"""
_SHIP_DAYS = f"""
INSERT INTO ship_day_energy AS r (partition, day_s, ship, nwh, covered_us, mark)
SELECT %s, u.day_s, u.ship, {_NWH}, u.covered_us, u.mark
FROM unnest(%s::bigint[], %s::bigint[], %s::numeric[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS u (day_s, ship, whole, rest, covered_us, mark)
ON CONFLICT (partition, day_s, ship) DO UPDATE SET {_ADDED}, mark = EXCLUDED.mark
"""
_SHIPS = f"""
INSERT INTO ship_energy AS r (partition, ship, nwh, covered_us, whole_slots)
SELECT %s, u.ship, {_NWH}, u.covered_us, u.whole_slots
FROM unnest(%s::bigint[], %s::numeric[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS u (ship, whole, rest, covered_us, whole_slots)
ON CONFLICT (partition, ship) DO UPDATE SET {_ADDED}, whole_slots = r.whole_slots + EXCLUDED.whole_slots
"""


def statements(partition: int, slots: Slots, was: Slots) -> Iterator[Statement]:
    """Return the statements that change the roll-ups as slots change; `was` are the same slots as they are stored."""
    for query, columns in zip((_FLEET, _SHIP_DAYS, _SHIPS), added(slots, was, np.rint), strict=True):
        yield query, (partition, *columns)
