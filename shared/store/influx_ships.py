"""What is known of each ship, in InfluxDB: from its sums of all time, and from a few of its readings and slots.

A query over all time opens every ship in every week, and that takes a second for a year of 1,000 ships. So each ship is
asked for alone, close to where its first and its last slot are known to be.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shared.moments import US_PER_S
from shared.slots import SLOT_S, Window
from shared.store.influx_requests import Requests
from shared.store.influx_server import NS_PER_S, NS_PER_US, complete
from shared.store.influx_sums import DAY_S, SHIP_DAYS, SHIPS, Sum, of_all_time, of_ships, ship_sum, ships_in, ships_of
from shared.store.influx_windows import END_S, energies
from shared.store.port import NEWEST, ShipHistory, ShipPage

AT_ONCE = 500
"""How many ships one request asks about."""
LOOKS, PAUSE_S = 3, 0.05
"""How often a sum that is being written is looked at, before it is made from its days."""
REACHES_S = (3 * 3600, 4 * DAY_S, 90 * DAY_S, END_S)
"""How far back from its last slot a ship's newest readings are looked for, while there are too few."""


def ships(server: Requests, after: int, count: int, windows: Sequence[Window]) -> ShipPage:
    """See `EnergyReader`."""
    later = [ship for ship in ships_in(server, SHIP_DAYS) if ship > after]
    asked = later[:count]
    if not asked:
        return ShipPage([], None)
    ends = _ends(server, _sums(server, asked))
    kwh = energies(server, windows, f" AND {of_ships(asked)}")
    found = [end.history([each.get(end.ship) for each in kwh]) for end in ends if end.is_there]
    return ShipPage(found, asked[-1] if len(later) > count else None)


def _sums(server: Requests, ships: Sequence[int]) -> dict[int, Sum]:
    """Give each ship's sum of all time; one that nobody finishes is made from the ship's days."""
    found: dict[int, Sum] = {}
    for look in range(LOOKS):
        time.sleep(PAUSE_S if look else 0)
        found |= _finished(server, [ship for ship in ships if ship not in found])
        if len(found) == len(ships):
            return found
    return found | of_all_time(server, [ship for ship in ships if ship not in found])


def _finished(server: Requests, ships: Sequence[int]) -> dict[int, Sum]:
    """Give the sums of ships that nobody was writing while they were read."""
    within = f"FROM {SHIPS.name} WHERE {of_ships(ships)} GROUP BY ship"
    marks, sums_ = f"SELECT mark, clean {within}", f"SELECT {', '.join(SHIPS.kept)} {within}"
    found: dict[int, Sum] = {}
    seen: dict[int, set[str]] = {ship: set() for ship in ships}
    for table in map(complete, server.query([marks, sums_, marks], {})):
        rows = zip(*(table[name] for name in (("mark", "clean") if "mark" in table else SHIPS.kept)), strict=True)
        for ship, row in zip(ships_of(table), rows, strict=True):
            if "mark" in table:
                seen[ship] |= set(row)
            else:
                found[ship] = ship_sum(*row)
    return {ship: each for ship, each in found.items() if len(seen[ship]) == 1}


@dataclass(slots=True)
class _Ends:
    """The beginning and the end of a ship's history, as far as they are known."""

    ship: int
    sum: Sum
    first_us: int | None = None
    newest_us: set[int] = field(default_factory=set)
    last_slot_s: int | None = None
    asked_from_s: int = END_S

    @property
    def is_there(self) -> bool:
        """Whether the ship has readings and slots; a retention policy may have taken them away."""
        return self.first_us is not None and self.last_slot_s is not None and bool(self.newest_us)

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing more to ask."""
        enough = len(self.newest_us) >= NEWEST and self.first_us is not None and self.last_slot_s is not None
        return enough or self.asked_from_s <= self.sum.first_s

    def asks(self, reach_s: int) -> Iterator[str]:
        """Give the statements that look for what is missing."""
        before_s, self.asked_from_s = self.asked_from_s, max(self.sum.last_s - reach_s, self.sum.first_s)
        end_s = self.sum.last_s + SLOT_S
        late = f"ship = '{self.ship}' AND time >= {self.asked_from_s * NS_PER_S} AND time < {end_s * NS_PER_S}"
        if len(self.newest_us) < NEWEST:
            yield f"SELECT value FROM readings WHERE {late} GROUP BY ship ORDER BY time DESC LIMIT {NEWEST}"
        if self.last_slot_s is None:
            yield f"SELECT last(covered_s) AS slot FROM energy WHERE covered_s > 0 AND {late} GROUP BY ship"
        if self.first_us is None:
            stop_s = min(self.sum.first_s + DAY_S, end_s) if before_s == END_S else end_s
            early = f"time >= {self.sum.first_s * NS_PER_S} AND time < {stop_s * NS_PER_S}"
            yield f"SELECT first(value) AS first FROM readings WHERE ship = '{self.ship}' AND {early} GROUP BY ship"

    def history(self, energy: Sequence[tuple[float, float] | None]) -> ShipHistory:
        """Put it together with what the ship used in each of some windows."""
        first_us, last_slot_s = self.first_us or 0, self.last_slot_s or 0
        slots = last_slot_s // SLOT_S - first_us // US_PER_S // SLOT_S + 1
        kwh = tuple(each and each[0] for each in energy)
        return ShipHistory(self.ship, first_us, tuple(sorted(self.newest_us)), slots, self.sum.whole, kwh)


def _ends(server: Requests, sums: Mapping[int, Sum]) -> list[_Ends]:
    """Look for the ends of ships, at first close to where they must be, and wherever too little is found, farther."""
    ends = {ship: _Ends(ship, each) for ship, each in sorted(sums.items()) if each.last_s >= each.first_s}
    for reach_s in REACHES_S:
        open_ = [each for each in ends.values() if not each.is_complete]
        for start in range(0, len(open_), AT_ONCE):
            asks = [ask for each in open_[start : start + AT_ONCE] for ask in each.asks(reach_s)]
            _look(server, asks, ends)
    return list(ends.values())


def _look(server: Requests, asks: Sequence[str], ends: Mapping[int, _Ends]) -> None:
    for table in server.query(asks, {}):
        for ship, time_ns in zip(ships_of(table), map(int, table["time"]), strict=True):
            if "value" in table:
                ends[ship].newest_us.add(time_ns // NS_PER_US)
            elif "slot" in table:
                ends[ship].last_slot_s = time_ns // NS_PER_S
            else:
                ends[ship].first_us = time_ns // NS_PER_US
