"""The store in InfluxDB, for a fleet: one bucket that any Grafana can read. docs/influxdb.md describes what is in it.

InfluxDB has no transactions: what is written is durable at once, readings first, then their slots. What keeps the
promise of the port nevertheless stands in docs/decisions/010-influxdb.md.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice

import numpy as np

from shared.errors import Refused, Unavailable
from shared.moments import US_PER_S
from shared.readings import Readings
from shared.slots import SLOT_S, Slots, Window
from shared.store import influx_neighbours, influx_ships
from shared.store.influx_presence import Presence
from shared.store.influx_rollups import Pending, RollUps
from shared.store.influx_server import AT_ONCE, LINES, NS_PER_S, NS_PER_US, TIMEOUT_S, Account, Server, Table
from shared.store.influx_sums import (
    DAY_S,
    FLEET,
    Key,
    Sum,
    slots_of,
    slots_under,
    stale_times_s,
    sums,
)
from shared.store.influx_windows import END_S, bounds_s, energies
from shared.store.port import FleetSlots, Neighbourhood, ShipEnergy, ShipPage, Span

SHIPS = 500
RUN_S = DAY_S
_SUM = ("kwh", "covered_s", "ships", "whole", "provisional")
LOOK_AGAIN_S = 5
"""How often a worker that is not alone looks whether it is, while nothing arrives."""


class InfluxStore:
    """Both halves of the port; the reading half is safe to use from several threads, the writing half from one."""

    def __init__(
        self,
        account: Account,
        *,
        connections: int = 8,
        timeout_s: float = TIMEOUT_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; the server is asked for its version with the first use."""
        self._server = Server(account, connections=connections, timeout_s=timeout_s)
        self._presence = Presence(self._server, now_s)
        self._roll_ups = RollUps(self._server)
        self._alone = False
        self._is_known = False
        """Whether `_alone` was found out after everything that was put."""
        self._forgot = True
        """Whether the caller has to be told that others may have written."""
        self._pending: list[Pending] = []

    def close(self) -> None:
        """Let others know that we write no more, if that can be said, and close the connections."""
        with suppress(Unavailable):
            self._presence.leave()
        self._server.close()

    def check(self) -> None:
        """See whether the server is there, lets us in, and is one that we can work with.

        Raises:
            InvalidSettings: it is not.
            Unavailable: it does not answer.

        """
        self._server.check()

    # --- the writing half

    @contextmanager
    def transaction(self) -> Iterator[bool]:
        """See `ReadingStore`."""
        try:
            with self._or_unsure():
                self._server.set_up()
                has_watched = self._alone and self._presence.has_watched()
                self._presence.show()
                self._roll_ups.trim()
                self._is_known = False
                if not has_watched:
                    self._watch()
                others_wrote, self._forgot = self._forgot, False
                yield others_wrote
                if self.alone():
                    for pending in self._pending:
                        self._roll_ups.make(pending)
        finally:
            self._pending.clear()

    @contextmanager
    def _or_unsure(self) -> Iterator[None]:
        """After an error, take nothing for granted."""
        try:
            yield
        except Refused:
            self._forget()
            raise
        except BaseException:
            self._presence.unsure()
            self._server.forget()
            self._forget()
            raise

    def _watch(self) -> None:
        self._forget()
        self._alone, self._is_known = self._presence.watch(), True

    def alone(self) -> bool:
        """See `ReadingStore`."""
        if not self._is_known:
            self._presence.hold()
            self._still_alone()
            self._is_known = True
        return self._alone

    def _still_alone(self) -> bool:
        self._alone = self._presence.alone() and self._alone
        if not self._alone:
            self._forget()
        return self._alone

    def _forget(self) -> None:
        self._alone, self._forgot = False, True
        self._pending.clear()
        self._roll_ups.forget()

    def neighbourhoods(self, spans: Sequence[Span]) -> list[Neighbourhood]:
        """See `ReadingStore`."""
        self._presence.hold()
        return influx_neighbours.neighbourhoods(self._server, spans)

    def stored_slots(self, windows: Mapping[int, Window]) -> Slots:
        """See `ReadingStore`."""
        self._presence.hold()
        ships = sorted(windows)
        tables = [
            table
            for start in range(0, len(ships), SHIPS)
            for table in self._slots({ship: windows[ship] for ship in ships[start : start + SHIPS]})
        ]
        return Slots.concat([slots_of(table) for table in tables])

    def _slots(self, windows: Mapping[int, Window]) -> Iterator[Table]:
        statements: list[str] = []
        values: dict[str, object] = {}
        for i, (ship, window) in enumerate(windows.items()):
            start_ns, end_ns = _bounds_ns(window)
            statements.append(
                f"SELECT kwh, covered_s, provisional FROM energy WHERE ship = $ship{i} AND time >= $start{i}"
                f" AND time < $end{i} GROUP BY ship"
            )
            values |= {f"ship{i}": str(ship), f"start{i}": start_ns, f"end{i}": end_ns}
        return self._server.query(statements, values)

    def put_readings(self, readings: Readings) -> None:
        """See `ReadingStore`."""
        self._is_known = False
        columns = (
            readings.ship,
            readings.value,
            np.where(readings.is_energy, "kWh", "kW"),
            readings.sent_at_us,
            readings.moment_us * NS_PER_US,
        )
        self._write(
            f'readings,ship={ship} value={value!r},unit="{unit}",sent_at={sent_at_us}i {time_ns}'
            for ship, value, unit, sent_at_us, time_ns in zip(*(each.tolist() for each in columns), strict=True)
        )

    def _write(self, lines: Iterable[str]) -> None:
        lines = iter(lines)
        while part := list(islice(lines, LINES * AT_ONCE)):
            self._presence.hold()
            self._server.write(part)

    def put_slots(self, slots: Slots, was: Slots) -> None:
        """See `ReadingStore`."""
        self._is_known = False
        alone = self._alone
        pending = self._roll_ups.mark(slots, was, alone=alone)
        kwh, provisional = np.where(slots.covered_s > 0, slots.kwh, 0.0), slots.provisional & (slots.covered_s > 0)
        columns = (slots.ship, kwh, slots.covered_s, provisional, slots.start_s * NS_PER_S)
        self._write(
            f"energy,ship={ship} kwh={kwh!r},covered_s={covered_s!r},provisional={provisional} {start_ns}"
            for ship, kwh, covered_s, provisional, start_ns in zip(*(each.tolist() for each in columns), strict=True)
        )
        if alone:
            self._pending.append(pending)

    def pinned(self, name: str, value: str) -> str:
        """See `ReadingStore`."""
        self._server.set_up()
        found = self._pinned(name)
        if found is None:
            self._server.pin(name, value)
            found = self._pinned(name)
        return value if found is None else found

    def _pinned(self, name: str) -> str | None:
        tables = self._server.query(["SELECT value FROM pinned WHERE setting = $name LIMIT 1"], {"name": name})
        return next((table["value"][0] for table in tables), None)

    def tidy(self) -> bool:
        """See `ReadingStore`."""
        with self._or_unsure():
            if not self._alone and self._presence.last_look_s() > LOOK_AGAIN_S:
                self._server.set_up()
                self._watch()
            return self._alone and self._roll_ups.repair(self._still_alone)

    # --- the reading half

    def slots(self, ship: int, window: Window) -> Slots:
        """See `EnergyReader`."""
        return Slots.concat([slots_of(table) for table in self._slots({ship: window})])

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
                for start_s, *pair in zip(starts_s, table["mark"], table["clean"], strict=True):
                    seen.setdefault(start_s, []).append((pair[0], pair[1]))
            else:
                found |= zip(starts_s, zip(*(table[name] for name in _SUM), strict=True), strict=True)
        made: dict[int, tuple[float, ...]] = {}
        stale: list[Key] = []
        for start_s, pairs in sorted(seen.items()):
            if pairs[0][0] != pairs[0][1] or pairs != [pairs[0]] * 2:
                stale.append(Key(FLEET, -1, start_s))
            elif found[start_s][2] != "0":
                made[start_s] = tuple(map(float, found[start_s]))
        for key, each in self._sums(stale).items():
            made[key.time_s] = (each.kwh, each.covered_us / US_PER_S, each.slots, each.whole, each.provisional)
        return _fleet_slots(made)

    def _sums(self, stale: Sequence[Key]) -> dict[Key, Sum]:
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
        (energy,) = energies(self._server, [window])
        ships = [ShipEnergy(ship, kwh, covered_s) for ship, (kwh, covered_s) in energy.items()]
        return sorted(ships, key=lambda each: (-round(each.kwh, 6), each.ship))[:count]

    def ships(self, after: int, count: int, windows: Sequence[Window]) -> ShipPage:
        """See `EnergyReader`."""
        return influx_ships.ships(self._server, after, count, windows)

    def readings(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        """See `EnergyReader`."""
        return influx_neighbours.first_readings(self._server, ship, start_us, end_us, count)

    def first_slot_s(self, ship: int | None, window: Window) -> int | None:
        """See `EnergyReader`."""
        start_ns, end_ns = _bounds_ns(window)
        of = "mark FROM fleet WHERE" if ship is None else "covered_s FROM energy WHERE ship = $ship AND"
        values = {"ship": str(ship), "start": start_ns, "end": end_ns}
        return self._time_s(f"SELECT {of} time >= $start AND time < $end ORDER BY time LIMIT 1", values)

    def last_slot_s(self, ship: int) -> int | None:
        """See `EnergyReader`."""
        return self._time_s("SELECT last(covered_s) FROM energy WHERE ship = $ship", {"ship": str(ship)})

    def _time_s(self, statement: str, values: Mapping[str, object]) -> int | None:
        tables = self._server.query([statement], values)
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

    def ping(self) -> None:
        """See `EnergyReader`."""
        list(self._server.query([], {}))

    def extent(self) -> Window | None:
        """See `EnergyReader`."""
        made = "FROM fleet WHERE ships > 0 AND mark = clean ORDER BY time"
        ends = [f"SELECT ships {made} LIMIT 1", f"SELECT ships {made} DESC LIMIT 1"]
        starts_s = [int(table["time"][0]) // NS_PER_S for table in self._server.query(ends, {})]
        stale_s = stale_times_s(self._server, FLEET)
        low_s, high_s = (starts_s[0], starts_s[-1]) if starts_s else (END_S, END_S)
        outside = [
            *self.fleet(Window(min([low_s, *stale_s]), low_s)).start_s.tolist(),
            *self.fleet(Window(high_s, max([high_s, *stale_s]) + SLOT_S)).start_s.tolist(),
        ]
        starts_s = [*starts_s, *outside]
        return Window(min(starts_s), max(starts_s) + SLOT_S) if starts_s else None


def _bounds_ns(window: Window) -> tuple[int, int]:
    start_s, end_s = bounds_s(window)
    return start_s * NS_PER_S, end_s * NS_PER_S


def _fleet_slots(rows: Mapping[int, tuple[float, ...]]) -> FleetSlots:
    start_s = sorted(rows)
    columns = np.array([rows[each] for each in start_s], np.float64).reshape(-1, 5).T
    return FleetSlots(
        np.array(start_s, np.int64),
        columns[0],
        columns[1],
        columns[4] > 0,
        columns[2].astype(np.int64),
        columns[3].astype(np.int64),
    )
