"""What is known of each ship, in InfluxDB: from its sums of all time, and from a few of its readings and slots.

A query over all time opens every ship in every week, and that takes a second for a year of 1,000 ships. So a ship is
asked for close to where its first and its last reading or slot are known to be, together with those that are asked for
in the same stretches of time: mostly that is all of them.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shared.domain.slots import NOWHEN, SLOT_S, Window
from shared.domain.timestamps import US_PER_S
from shared.store.influx import roll_ups
from shared.store.influx.kept_sums import KeptSums
from shared.store.influx.roll_ups import DAY_S, SHIP_DAYS, SHIPS, Sum, of_ships, ships_of
from shared.store.influx.server import NS_PER_S, NS_PER_US, Server, complete
from shared.store.influx.windows import END_S, energies
from shared.store.port import NEWEST, ShipHistory, ShipPage

AT_ONCE = 500
"""How many ships one request asks about."""
LOOKS, PAUSE_S = 3, 0.05
"""How often a sum that is being written is looked at, before it is made from its days."""
REACHES_S = (3 * 3600, 4 * DAY_S, 90 * DAY_S, END_S)
"""How far back from its last slot a ship's newest readings are looked for, while there are too few."""
WHOLE_S = SLOT_S - 0.5 / US_PER_S
"""From here on a slot's cover is 900 s to the microsecond."""


def ships(  # noqa: PLR0913, PLR0917  # the port's, and what they are read from
    server: Server, sums: KeptSums, after: int, count: int, windows: Sequence[Window], until_us: int
) -> ShipPage:
    """See `EnergyReader`."""
    known = roll_ups.ships_in(server, SHIP_DAYS.name)
    later = [ship for ship in known if ship > after]
    asked = later[:count]
    if not asked:
        return ShipPage([], None)
    ends = _ends(server, _sums(server, asked), until_us)
    is_most = 2 * len(asked) > len(known)
    kwh = sums.energies(windows) if is_most else energies(server, windows, f" AND {of_ships(asked)}")
    found = [end.history([each.get(end.ship) for each in kwh]) for end in ends if end.is_there]
    return ShipPage(found, asked[-1] if len(later) > count else None)


def reach(server: Server, ship: int) -> Window:
    """See `EnergyReader`."""
    found = _finished(server, [ship]).get(ship)
    if found is None:
        return Window()
    return Window(found.first_s, found.last_s + SLOT_S) if found.last_s >= found.first_s else NOWHEN


def _sums(server: Server, ships: Sequence[int]) -> dict[int, Sum]:
    """Give each ship's sum of all time; one that nobody finishes is made from the ship's days."""
    found: dict[int, Sum] = {}
    for look in range(LOOKS):
        time.sleep(PAUSE_S if look else 0)
        found |= _finished(server, [ship for ship in ships if ship not in found])
        if len(found) == len(ships):
            return found
    return found | roll_ups.of_all_time(server, [ship for ship in ships if ship not in found])


def _finished(server: Server, ships: Sequence[int]) -> dict[int, Sum]:
    """Give the sums of ships that nobody was writing while they were read."""
    pinned = f"time >= {SHIPS.at_s * NS_PER_S}"  # else InfluxDB opens every week that it has
    within = f"FROM {SHIPS.name} WHERE {of_ships(ships)} AND {pinned}"  # not by ship: that takes thrice as long
    marks, sums_ = f"SELECT mark, clean, ship {within}", f"SELECT {', '.join(SHIPS.kept)}, ship {within}"
    found: dict[int, Sum] = {}
    seen: dict[int, set[str]] = {ship: set() for ship in ships}
    for table in (complete(each, ("tags",)) for each in server.query([marks, sums_, marks], {})):
        rows = zip(*(table[name] for name in (("mark", "clean") if "mark" in table else SHIPS.kept)), strict=True)
        for ship, row in zip(map(int, table["ship"]), rows, strict=True):
            if "mark" in table:
                seen[ship] |= set(row)
            else:
                found[ship] = roll_ups.ship_sum(*row)
    return {ship: each for ship, each in found.items() if len(seen[ship]) == 1}


@dataclass(slots=True)
class _Ends:
    """The beginning and the end of a ship's history up to `until_us`, and what lies after it, as far as known."""

    ship: int
    sum: Sum
    until_us: int
    first_us: int | None = None
    first_slot_s: int | None = None
    newest_us: set[int] = field(default_factory=set)
    last_slot_s: int | None = None
    asked_from_s: int = END_S
    ahead_us: int | None = None
    ahead_whole: int = 0

    @property
    def until_s(self) -> int:
        """Where the last slot begins that counts."""
        return self.until_us // US_PER_S // SLOT_S * SLOT_S

    @property
    def goes_on(self) -> bool:
        """Whether there may be readings or slots after `until_us`."""
        return self.sum.last_s + SLOT_S > self.until_s

    @property
    def is_there(self) -> bool:
        """Whether the ship has readings and slots; a retention policy may have taken them away."""
        return self.first_us is not None and self.first_slot_s is not None

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing more to ask."""
        enough = len(self.newest_us) >= NEWEST and self.last_slot_s is not None and self.is_there
        return enough or self.asked_from_s <= self.sum.first_s

    def asks(self, reach_s: int) -> Iterator[str]:
        """Give the statements that look for what is missing; `{}` stands for the ship."""
        last_s = min(self.sum.last_s, self.until_s)
        before_s, self.asked_from_s = self.asked_from_s, max(last_s - reach_s, self.sum.first_s)
        end_s = self.sum.last_s + SLOT_S
        stop_ns = min((last_s + SLOT_S) * NS_PER_S, self.until_us * NS_PER_US + 1)
        late = f"{{}} AND time >= {self.asked_from_s * NS_PER_S} AND time < {stop_ns}"
        is_early = last_s < self.sum.first_s  # all of its history is yet to come
        if len(self.newest_us) < NEWEST and not is_early:
            yield f"SELECT sent_at FROM readings WHERE {late} GROUP BY ship ORDER BY time DESC LIMIT {NEWEST}"
        if self.last_slot_s is None and not is_early:
            yield f"SELECT last(covered_s) AS slot FROM energy WHERE covered_s > 0 AND {late} GROUP BY ship"
        is_all = before_s != END_S or self.asked_from_s == self.sum.first_s  # it is not asked again
        stop_s = end_s if is_all else min(self.sum.first_s + DAY_S, end_s)
        early = f"{{}} AND time >= {self.sum.first_s * NS_PER_S} AND time < {stop_s * NS_PER_S}"
        if self.first_us is None:
            yield f"SELECT first(sent_at) AS first FROM readings WHERE {early} GROUP BY ship"
        if self.first_slot_s is None:
            yield f"SELECT first(covered_s) AS first_slot FROM energy WHERE covered_s > 0 AND {early} GROUP BY ship"

    def history(self, energy: Sequence[tuple[float, float] | None]) -> ShipHistory:
        """Put it together with what the ship used in each of some windows."""
        first_us, slots = self.first_us or 0, 0
        if self.first_slot_s is not None and self.last_slot_s is not None:
            slots = (self.last_slot_s - self.first_slot_s) // SLOT_S + 1
        kwh = tuple(each and each[0] for each in energy)
        whole = max(self.sum.whole - self.ahead_whole, 0)
        return ShipHistory(self.ship, first_us, tuple(sorted(self.newest_us)), self.ahead_us, slots, whole, kwh)


def _ends(server: Server, sums: Mapping[int, Sum], until_us: int) -> list[_Ends]:
    """Look for the ends of ships, at first close to where they must be, and wherever too little is found, farther."""
    ends = {ship: _Ends(ship, each, until_us) for ship, each in sorted(sums.items()) if each.last_s >= each.first_s}
    _look(server, _asks_ahead([each for each in ends.values() if each.goes_on]), ends)
    for reach_s in REACHES_S:
        open_ = [each for each in ends.values() if not each.is_complete]
        for start in range(0, len(open_), AT_ONCE):
            _look(server, _together(open_[start : start + AT_ONCE], reach_s), ends)
    return list(ends.values())


def _together(ends: Sequence[_Ends], reach_s: int) -> list[str]:
    """Give the statements that look for what is missing, each for all ships that it is asked of."""
    ships: dict[str, list[int]] = {}
    for each in ends:
        for ask in each.asks(reach_s):
            ships.setdefault(ask, []).append(each.ship)
    return [ask.format(of_ships(asked)) for ask, asked in ships.items()]


def _asks_ahead(ends: Sequence[_Ends]) -> list[str]:
    """Give the statements that look for what lies after `until_us`, of all ships at once: mostly that is nothing."""
    if not ends:
        return []
    until_us, stop_s = ends[0].until_us, max(each.sum.last_s for each in ends) + SLOT_S
    of_them = of_ships([each.ship for each in ends])
    within = f"time > {until_us * NS_PER_US} AND time < {stop_s * NS_PER_S} AND {of_them}"
    return [
        f"SELECT last(sent_at) AS ahead FROM readings WHERE {within} GROUP BY ship",
        f"SELECT count(covered_s) AS ahead_whole FROM energy WHERE covered_s >= {WHOLE_S} AND {within} GROUP BY ship",
    ]


def _look(server: Server, asks: Sequence[str], ends: Mapping[int, _Ends]) -> None:
    for table in server.query(asks, {}) if asks else ():
        for i, (ship, time_ns) in enumerate(zip(ships_of(table), map(int, table["time"]), strict=True)):
            if "ahead" in table:
                ends[ship].ahead_us = time_ns // NS_PER_US
            elif "ahead_whole" in table:
                ends[ship].ahead_whole = int(table["ahead_whole"][i])
            elif "sent_at" in table:
                ends[ship].newest_us.add(time_ns // NS_PER_US)
            elif "first_slot" in table:
                ends[ship].first_slot_s = time_ns // NS_PER_S
            elif "slot" in table:
                ends[ship].last_slot_s = time_ns // NS_PER_S
            else:
                ends[ship].first_us = time_ns // NS_PER_US
