"""Deletions in InfluxDB: points at the start of each span.

A span that a later one has replaced may still be there: `joined` leaves it out.
"""

from collections.abc import Sequence

from shared.domain.deletions import Deletions, joined
from shared.store.influx.roll_ups import of_ships, ships_of
from shared.store.influx.server import NS_PER_US, Server, complete

SHIPS = 500


def stored_deletions(server: Server, ships: Sequence[int]) -> Deletions:
    """See `EnergyReader`."""
    parts = (ships[start : start + SHIPS] for start in range(0, len(ships), SHIPS))
    statements = [f'SELECT "end", sent_at FROM deletions WHERE {of_ships(part)} GROUP BY ship' for part in parts]
    found = []
    for table in map(complete, server.query(statements, {}) if statements else ()):
        columns = (map(int, table[name]) for name in ("time", "end", "sent_at"))
        for ship, start_ns, end_us, sent_at_us in zip(ships_of(table), *columns, strict=True):
            found.append((ship, start_ns // NS_PER_US, end_us, sent_at_us))
    return joined(Deletions.from_rows(found), Deletions.from_rows([]))


def put_deletions(server: Server, deletions: Deletions) -> None:
    """See `ReadingStore`: the last comes first, so that the rest of a span that is cut is there before it is cut."""
    rows = sorted(deletions.rows(), reverse=True)
    server.write(
        f"deletions,ship={ship} end={end_us}i,sent_at={sent_at_us}i {start_us * NS_PER_US}"
        for ship, start_us, end_us, sent_at_us in rows
    )
