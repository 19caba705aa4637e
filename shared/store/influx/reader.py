"""The reading half of the store in InfluxDB: what the query service asks. docs/influxdb.md describes what is there.

The writing half is `store.py`.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest

import numpy as np

from shared.domain.covariates import Covariates
from shared.domain.deletions import Deletions
from shared.domain.readings import Readings
from shared.domain.slots import SLOT_S, Slots, Window
from shared.domain.timestamps import US_PER_S
from shared.store.influx import ships
from shared.store.influx.covariates import stored_covariates
from shared.store.influx.deletions import stored_deletions
from shared.store.influx.kept_sums import KeptSums
from shared.store.influx.readings import first_readings
from shared.store.influx.roll_ups import DAY_S, FLEET, Key, Sum, ships_in, slots_of, slots_under, stale_times_s, sums
from shared.store.influx.server import NS_PER_S, Server, Table
from shared.store.influx.windows import END_S, bounds_s
from shared.store.port import FleetSlots, ShipEnergy, ShipPage, SlotEnergy

RUN_S = DAY_S
_SUM = ("kwh", "covered_s", "provisional", "estimated_s", "ships", "whole")


class InfluxReader:
    """The port's `EnergyReader`; safe to use from several threads."""

    def __init__(self, server: Server) -> None:
        """Read from a server; it is asked for its version with the first use."""
        self._server = server
        self._sums = KeptSums(server)

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def check(self) -> None:
        """See `Server`."""
        self._server.check()

    def slots(self, ship: int, window: Window) -> Slots:
        """See `EnergyReader`."""
        return Slots.concat([slots_of(table) for table in read_slots(self._server, [(ship, *bounds_s(window))])])

    def energy(self, ship: int, window: Window) -> SlotEnergy:
        """See `EnergyReader`."""
        start_ns, end_ns = _bounds_ns(window)
        statement = "SELECT kwh FROM energy WHERE covered_s > 0 AND ship = $ship AND time >= $start AND time < $end"
        tables = self._server.query([statement], {"ship": str(ship), "start": start_ns, "end": end_ns})
        parts = [
            SlotEnergy(
                np.array(list(map(int, table["time"])), np.int64) // NS_PER_S, np.array(list(map(float, table["kwh"])))
            )
            for table in tables
        ]
        return SlotEnergy.concat(parts)

    def fleet(self, window: Window) -> FleetSlots:
        """See `EnergyReader`."""
        start_ns, end_ns = _bounds_ns(window)
        within = "FROM fleet WHERE time >= $start AND time < $end"
        marks, sums_ = f"SELECT mark, clean {within}", f"SELECT {', '.join(_SUM)} {within}"
        found: dict[int, tuple[str, ...]] = {}
        seen: dict[int, list[tuple[str, str]]] = {}
        # InfluxDB reads the fields of a point one after the other: a sum that had one mark before and after, and was
        # clean, was not being written in between.
        for table in self._server.query([marks, sums_, marks], {"start": start_ns, "end": end_ns}):
            starts_s = [int(time_ns) // NS_PER_S for time_ns in table["time"]]
            if "mark" in table:
                for start_s, mark, clean in zip(starts_s, table["mark"], table["clean"], strict=True):
                    seen.setdefault(start_s, []).append((mark, clean))
            else:
                found |= zip(starts_s, zip(*(table[name] for name in _SUM), strict=True), strict=True)
        made: dict[int, tuple[float, ...]] = {}
        stale: list[Key] = []
        for start_s, pairs in sorted(seen.items()):
            if pairs[0][0] != pairs[0][1] or pairs != [pairs[0]] * 2:
                stale.append(Key(FLEET, -1, start_s))
            elif found[start_s][4] != "0":
                made[start_s] = tuple(float(each or 0) for each in found[start_s])
        for key, each in self._made(stale).items():
            covered_s, estimated_s = each.covered_us / US_PER_S, each.estimated_us / US_PER_S
            made[key.time_s] = (each.kwh, covered_s, each.provisional, estimated_s, each.slots, each.whole)
        return FleetSlots.from_rows((start_s, *each) for start_s, each in sorted(made.items()))

    def _made(self, stale: Sequence[Key]) -> dict[Key, Sum]:
        """Sum up the fleet's slots as they are now."""
        found: dict[Key, Sum] = {}
        part: list[Key] = []
        for i, key in enumerate(stale):
            part.append(key)
            if (
                i + 1 == len(stale)
                or stale[i + 1].time_s - part[0].time_s >= RUN_S
                or (stale[i + 1].time_s != key.time_s + SLOT_S)
            ):
                found |= sums(FLEET, slots_under(self._server, part))
                part = []
        return found

    def top_ships(self, window: Window, count: int) -> list[ShipEnergy]:
        """See `EnergyReader`."""
        (energy,) = self._sums.energies([window])
        ships = (ShipEnergy(ship, kwh, covered_s) for ship, (kwh, covered_s) in energy.items())
        return nsmallest(count, ships, key=lambda each: (-round(each.kwh, 6), each.ship))

    def ships(self, after: int, count: int, windows: Sequence[Window], until_us: int) -> ShipPage:
        """See `EnergyReader`."""
        return ships.ships(self._server, self._sums, after, count, windows, until_us)

    def known_ships(self, after: int, count: int) -> list[int]:
        """See `EnergyReader`."""
        known = {ship for each in ("readings", "deletions", "covariates") for ship in ships_in(self._server, each)}
        return sorted(ship for ship in known if ship > after)[:count]

    def readings(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        """See `EnergyReader`."""
        return first_readings(self._server, ship, start_us, end_us, count)

    def first_slot_s(self, ship: int | None, window: Window) -> int | None:
        """See `EnergyReader`."""
        return self._slot_s(ship, window, "ORDER BY time LIMIT 1")

    def last_slot_s(self, ship: int | None, window: Window) -> int | None:
        """See `EnergyReader`."""
        return self._slot_s(ship, window, "ORDER BY time DESC LIMIT 1")

    def reach(self, ship: int | None) -> Window:
        """See `EnergyReader`: a ship's sum of all time tells it, while nobody is writing that."""
        return Window() if ship is None else ships.reach(self._server, ship)

    def _slot_s(self, ship: int | None, window: Window, which: str) -> int | None:
        start_ns, end_ns = _bounds_ns(window)
        of = "mark FROM fleet WHERE" if ship is None else "covered_s FROM energy WHERE ship = $ship AND"
        values = {"ship": str(ship), "start": start_ns, "end": end_ns}
        tables = self._server.query([f"SELECT {of} time >= $start AND time < $end {which}"], values)
        return next((int(table["time"][0]) // NS_PER_S for table in tables), None)

    def version(self, ship: int | None, window: Window) -> str | None:
        """See `EnergyReader`: the marks of the fleet's slots, or of a ship's days.

        A mark is written before its slots, and is `clean` after them: first the marks are read, and then whether any
        of them is still to become clean. Their sum, in 64 bits, is as good as all of them.
        A point that is being written may show its mark alone, which no comparison finds.
        """
        start_ns, end_ns = _bounds_ns(window)
        day_ns = DAY_S * NS_PER_S
        values: dict[str, object] = {"start": start_ns, "end": end_ns}
        within = "FROM fleet WHERE time >= $start AND time < $end"
        if ship is not None:
            within = "FROM ship_days WHERE ship = $ship AND time >= $start AND time < $end"
            values |= {"ship": str(ship), "start": start_ns // day_ns * day_ns}
        marks = f"SELECT sum(mark) AS marks, count(mark) AS n, count(clean) AS n_clean {within}"
        stale = f"SELECT mark, clean {within} AND mark != clean LIMIT 1"
        tables = list(self._server.query([marks, stale], values))
        if any("marks" not in table or table["n"] != table["n_clean"] for table in tables):
            return None
        return "".join(f"{table['n'][0]} {table['marks'][0]}" for table in tables)

    def deletions(self, ships: Sequence[int]) -> Deletions:
        """See `EnergyReader`."""
        return stored_deletions(self._server, ships)

    def covariates(self, ship: int) -> Covariates | None:
        """See `EnergyReader`."""
        return stored_covariates(self._server, ship)

    def ping(self) -> None:
        """See `EnergyReader`."""
        list(self._server.query([], {}))

    def extent(self) -> Window | None:
        """See `EnergyReader`."""
        made = "FROM fleet WHERE ships > 0 AND mark = clean ORDER BY time"
        ends = [f"SELECT ships {made} LIMIT 1", f"SELECT ships {made} DESC LIMIT 1"]
        tables = list(self._server.query([*ends, "SELECT sum(mark) AS mark, sum(clean) AS clean FROM fleet"], {}))
        starts_s = [int(table["time"][0]) // NS_PER_S for table in tables if "ships" in table]
        if all(table["mark"] == table["clean"] for table in tables if "mark" in table):  # marks are random: so are sums
            return Window(starts_s[0], starts_s[-1] + SLOT_S) if starts_s else None
        stale_s = stale_times_s(self._server, FLEET)
        low_s, high_s = (starts_s[0], starts_s[-1]) if starts_s else (END_S, END_S)
        outside = [
            *self.fleet(Window(min([low_s, *stale_s]), low_s)).start_s.tolist(),
            *self.fleet(Window(high_s, max([high_s, *stale_s]) + SLOT_S)).start_s.tolist(),
        ]
        starts_s = [*starts_s, *outside]
        return Window(min(starts_s), max(starts_s) + SLOT_S) if starts_s else None


def read_slots(server: Server, windows: Iterable[tuple[int, int, int]]) -> Iterator[Table]:
    """Return the slots of several ships, each in its own window (ship, start_s, end_s), as `slots_of` takes them."""
    statements: list[str] = []
    values: dict[str, object] = {}
    for i, (ship, start_s, end_s) in enumerate(windows):
        statements.append(
            f"SELECT kwh, covered_s, provisional, estimated_s FROM energy WHERE ship = $ship{i} AND time >= $start{i}"
            f" AND time < $end{i} GROUP BY ship"
        )
        start_ns, end_ns = start_s * NS_PER_S, min(end_s, END_S) * NS_PER_S
        values |= {f"ship{i}": str(ship), f"start{i}": start_ns, f"end{i}": end_ns}
    return server.query(statements, values)


def _bounds_ns(window: Window) -> tuple[int, int]:
    start_s, end_s = bounds_s(window)
    return start_s * NS_PER_S, end_s * NS_PER_S
