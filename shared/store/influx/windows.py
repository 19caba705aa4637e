"""What ships used in windows of time, in InfluxDB: from the sums of whole days, and from single slots at the edges."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from shared.domain.slots import Window
from shared.domain.timestamps import US_PER_S
from shared.store.influx.readings import END_US
from shared.store.influx.roll_ups import DAY_S, SHIP_DAYS, ships_of, stale_times_s
from shared.store.influx.server import NS_PER_S, Server, complete

END_S = END_US // US_PER_S + 32 * DAY_S
"""No slot is later: the last reading may speak for a month."""


class Part(NamedTuple):
    """A stretch of time, and the measurement that it is summed up from."""

    measurement: str
    start_s: int
    end_s: int


Energy = dict[int, tuple[float, float]]
"""By ship: its kWh, and its cover in seconds, which is more than 0."""


def bounds_s(window: Window) -> tuple[int, int]:
    """Give the bounds of a window, open ones too."""
    start_s, end_s = window.bounds_s()
    return start_s, min(end_s, END_S)


def energies(server: Server, windows: Sequence[Window], which: str = "") -> list[Energy]:
    """Sum up what ships used in each of some windows; `which` goes on after a condition, and chooses ships."""
    stale_s = _stale_days(server, windows, which)
    parts_of = [[part for part in _parts(window, stale_s) if part.start_s < part.end_s] for window in windows]
    parts = list(dict.fromkeys(part for parts in parts_of for part in parts))
    found: dict[Part, Energy] = {part: {} for part in parts}
    for number, ship, kwh, covered_s in _totals(server, parts, which):
        found[parts[number]][ship] = kwh, covered_s
    return [_added([found[part] for part in parts]) for parts in parts_of]


def days_of(window: Window) -> tuple[int, int]:
    """Give the start of the first midnight in a window and the end of its last whole day, which may come before it."""
    start_s, end_s = bounds_s(window)
    return -(-start_s // DAY_S) * DAY_S, end_s // DAY_S * DAY_S


def _stale_days(server: Server, windows: Sequence[Window], which: str) -> list[int]:
    days = [(first_s, last_s) for first_s, last_s in map(days_of, windows) if first_s < last_s]
    if not days:
        return []
    values = {"first": min(each[0] for each in days) * NS_PER_S, "last": max(each[1] for each in days) * NS_PER_S}
    return stale_times_s(server, SHIP_DAYS, f" AND time >= $first AND time < $last{which}", values)


def _parts(window: Window, stale_s: Sequence[int]) -> Iterator[Part]:
    """Cut a window at its midnights; days that are out of date are summed up from their slots."""
    (start_s, end_s), (first_s, last_s) = bounds_s(window), days_of(window)
    if first_s > last_s:  # no midnight
        yield Part("energy", start_s, end_s)
        return
    stale_s = [day_s for day_s in stale_s if first_s <= day_s < last_s]
    yield Part("energy", start_s, first_s)
    for day_s in stale_s:
        yield Part("energy", day_s, day_s + DAY_S)
    yield Part("energy", last_s, end_s)
    for begin_s, stop_s in zip([first_s, *(day_s + DAY_S for day_s in stale_s)], [*stale_s, last_s], strict=True):
        yield Part(SHIP_DAYS.name, begin_s, stop_s)


def _totals(server: Server, parts: Sequence[Part], which: str) -> Iterator[tuple[int, int, float, float]]:
    """Give the number of a part, a ship, its kWh and its cover."""
    statements = [_total(i, part, which) for i, part in enumerate(parts)]
    values = {f"start{i}": part.start_s * NS_PER_S for i, part in enumerate(parts)}
    values |= {f"end{i}": part.end_s * NS_PER_S for i, part in enumerate(parts)}
    for table in (complete(each, ("tags",)) for each in (server.query(statements, values) if parts else ())):
        kwh = next(name for name in table if name.startswith("kwh"))
        i = int(kwh.removeprefix("kwh"))
        ships = map(int, table["ship"]) if "ship" in table else ships_of(table)
        columns = (ships, map(float, table[kwh]), map(float, table[f"covered_s{i}"]))
        yield from ((i, *row) for row in zip(*columns, strict=True))


def _total(i: int, part: Part, which: str) -> str:
    within = f"FROM {part.measurement} WHERE time >= $start{i} AND time < $end{i}{which}"
    if (
        part.measurement == SHIP_DAYS.name and part.end_s - part.start_s == DAY_S
    ):  # one point of each: a fifth of the time
        return f"SELECT kwh AS kwh{i}, covered_s AS covered_s{i}, ship {within}"
    return f"SELECT sum(kwh) AS kwh{i}, sum(covered_s) AS covered_s{i} {within} GROUP BY ship"


def _added(parts: Sequence[Energy]) -> Energy:
    totals: Energy = {}
    for ship, (kwh, covered_s) in (each for part in parts for each in part.items()):
        so_far = totals.get(ship, (0.0, 0.0))
        totals[ship] = so_far[0] + kwh, so_far[1] + covered_s
    return {ship: each for ship, each in totals.items() if each[1]}
