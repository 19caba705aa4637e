"""Sums of slots in InfluxDB: the fleet's per slot and each ship's per day. The worker keeps them.

A sum is the sum before, less what a slot was, and what it is now: exactly, since energy is counted in whole nWh. Before
a slot is written its sums are marked (`mark`, a number of its own each time), and a sum is written with the mark that
it was made for (`clean`): where the two differ, somebody died or another worker came between, and the sum is to be
made anew from the slots. Only a worker that is alone makes sums.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from shared.moments import US_PER_S
from shared.slots import SLOT_S, Slots
from shared.store.influx_server import NS_PER_S, Server, Table

DAY_S = 86_400
MONTH_S = 30 * DAY_S
NWH_PER_KWH = 10**12
REMEMBERED = 100_000
"""How many sums are remembered, each of some 300 bytes."""
PART = 200


class Sum(NamedTuple):
    """A sum of slots: energy in nWh, cover in microseconds, how many they are, are whole, are provisional."""

    nwh: int = 0
    covered_us: int = 0
    slots: int = 0
    whole: int = 0
    provisional: int = 0

    def __bool__(self) -> bool:
        """Tell whether there is a slot."""
        return self.slots > 0

    @property
    def kwh(self) -> float:
        """The energy in kWh."""
        return self.nwh / NWH_PER_KWH

    def plus(self, other: "Sum") -> "Sum":
        """Add."""
        return Sum(*(mine + its for mine, its in zip(self, other, strict=True)))


class Key(NamedTuple):
    """What a sum is over: a kind of sum, a ship (-1 is all of them), and the start of its time in seconds."""

    kind: "Kind"
    ship: int
    time_s: int


@dataclass(frozen=True, slots=True)
class Kind:
    """A measurement of sums.

    Attributes:
        name: the measurement's.
        count: its field that counts the slots.
        of_ship: whether each ship has its own.
        length_s: how long a time one sum is over.

    """

    name: str
    count: str
    of_ship: bool
    length_s: int


FLEET = Kind("fleet", "ships", of_ship=False, length_s=SLOT_S)
SHIP_DAYS = Kind("ship_days", "slots", of_ship=True, length_s=DAY_S)
KINDS = (FLEET, SHIP_DAYS)


def sums(kind: Kind, slots: Slots, sign: int = 1) -> dict[Key, Sum]:
    """Sum slots; those without cover do not count."""
    slots = slots[slots.covered_s > 0]
    if not len(slots):
        return {}
    ship = slots.ship if kind.of_ship else np.full(len(slots), -1)
    time_s = slots.start_s // kind.length_s * kind.length_s
    order = np.lexsort((time_s, ship))
    ship, time_s, slots = ship[order], time_s[order], slots[order]
    first = np.flatnonzero(np.append([True], (ship[1:] != ship[:-1]) | (time_s[1:] != time_s[:-1])))
    whole_kwh = np.trunc(slots.kwh)
    covered_us = np.round(slots.covered_s * US_PER_S).astype(np.int64)
    columns = [
        np.add.reduceat(each.astype(np.int64), first).tolist()
        for each in (
            whole_kwh,
            np.round((slots.kwh - whole_kwh) * NWH_PER_KWH),
            covered_us,
            np.ones(len(slots)),
            covered_us >= SLOT_S * US_PER_S,
            slots.provisional,
        )
    ]
    keys = zip(ship[first].tolist(), time_s[first].tolist(), strict=True)
    return {
        Key(kind, *key): Sum(*(sign * each for each in (whole * NWH_PER_KWH + rest, *others)))
        for key, whole, rest, *others in zip(keys, *columns, strict=True)
    }


@dataclass(frozen=True, slots=True)
class Pending:
    """What slots that are being written do to sums, and the mark that these were given."""

    changes: Mapping[Key, Sum]
    mark: int


class RollUps:
    """The worker's half: makes sums, remembers them, and repairs those that it finds out of date."""

    def __init__(self, server: Server) -> None:
        """Remember nothing yet."""
        self._server = server
        self._sums: dict[Key, Sum] = {}
        self._stale: dict[Key, None] | None = None

    def forget(self) -> None:
        """Forget everything: others write, or what became of our own writes is not known."""
        self._sums.clear()
        self._stale = None

    def trim(self) -> None:
        """Forget some, if that is too much; not while slots are being written."""
        if len(self._sums) > REMEMBERED:
            self._sums.clear()

    def mark(self, slots: Slots, was: Slots, *, alone: bool) -> Pending:
        """Mark the sums that slots belong to, before these are written; only if we are alone they are made later."""
        changes: dict[Key, Sum] = {}
        for kind in KINDS:
            for part in (sums(kind, slots), sums(kind, was, -1)):
                for key, change in part.items():
                    changes[key] = changes.get(key, Sum()).plus(change)
        if alone:
            self._learn(changes)
        mark = secrets.randbits(53) + 1
        self._server.write(f"{_series(key)} mark={mark}i,clean=0i {key.time_s * NS_PER_S}" for key in changes)
        return Pending(changes, mark)

    def make(self, pending: Pending) -> None:
        """Write the sums, after their slots."""
        stale = self._stale or {}
        made = {key: self._sums[key].plus(change) for key, change in pending.changes.items() if key not in stale}
        self._server.write(_line(key, each, pending.mark) for key, each in made.items())
        self._sums |= made

    def repair(self, alone: Callable[[], bool]) -> bool:
        """Make some sums anew that are out of date; tell whether more are."""
        stale = self._found_stale()
        if not stale:
            return False
        some = _together(stale)
        marks = {key: row.mark for key, row in read(self._server, some)}  # before the slots: others may write them
        made = sums(some[0].kind, slots_under(self._server, some))
        if alone():
            for mark in set(marks.values()):
                keys = (key for key in some if marks.get(key) == mark)
                self._server.write(_line(key, made.get(key, Sum()), mark) for key in keys)
            for key in some:
                self._sums[key] = made.get(key, Sum())
                del stale[key]
        return bool(stale)

    def _found_stale(self) -> dict[Key, None]:
        if self._stale is None:
            self._stale = dict.fromkeys(key for kind in KINDS for key in read_stale(self._server, kind))
        return self._stale

    def _learn(self, keys: Iterable[Key]) -> None:
        """Read the sums that are not remembered."""
        stale = self._found_stale()
        unknown = [key for key in keys if key not in self._sums and key not in stale]
        self._sums |= dict.fromkeys(unknown, Sum())
        for key, row in read(self._server, unknown):
            if row.mark == row.clean:
                self._sums[key] = row.sum
            else:
                stale[key] = None


class Row(NamedTuple):
    """A sum as it is stored."""

    sum: Sum
    mark: int
    clean: int


def read(server: Server, keys: Sequence[Key]) -> Iterator[tuple[Key, Row]]:
    """Give the stored ones of some sums."""
    wanted = set(keys)
    for kind in KINDS:
        spans = list(_spans([key for key in keys if key.kind == kind]))
        for start in range(0, len(spans), PART):
            yield from (each for each in _read(server, kind, spans[start : start + PART]) if each[0] in wanted)


def _read(server: Server, kind: Kind, spans: Sequence[tuple[int, int, int]]) -> Iterator[tuple[Key, Row]]:
    statements = [
        f"SELECT nwh, covered_s, {kind.count}, whole, provisional, mark, clean FROM {kind.name}"
        f" WHERE time >= $start{i} AND time < $end{i}" + (f" AND ship = $ship{i} GROUP BY ship" if kind.of_ship else "")
        for i in range(len(spans))
    ]
    values: dict[str, object] = {}
    for i, (ship, start_s, end_s) in enumerate(spans):
        values |= {f"start{i}": start_s * NS_PER_S, f"end{i}": end_s * NS_PER_S}
        if kind.of_ship:
            values[f"ship{i}"] = str(ship)
    for table in server.query(statements, values) if statements else ():
        sum_columns = (table[name] for name in ("nwh", "covered_s", kind.count, "whole", "provisional"))
        rows = zip(_keys(kind, table), zip(*sum_columns, strict=True), table["mark"], table["clean"], strict=True)
        for key, (nwh, covered_s, *counts), mark, clean in rows:
            there = Sum(int(nwh), round(float(covered_s) * US_PER_S), *map(int, counts)) if nwh else Sum()
            yield key, Row(there, int(mark), int(clean))


def read_stale(server: Server, kind: Kind) -> list[Key]:
    """Give the sums that are out of date."""
    by_ship = " GROUP BY ship" if kind.of_ship else ""
    tables = server.query([f"SELECT mark, clean FROM {kind.name} WHERE mark != clean{by_ship}"], {})
    return [key for table in tables for key in _keys(kind, table)]


def stale_times_s(server: Server, kind: Kind, where: str = "", values: Mapping[str, object] | None = None) -> list[int]:
    """Give the times of sums that are out of date, of any ship, each once; `where` goes on after a condition."""
    # Not by ship, where there are many that is twice as quick.
    statement = f"SELECT mark, clean FROM {kind.name} WHERE mark != clean{where}"
    tables = server.query([statement], values or {})
    return sorted({int(time_ns) // NS_PER_S for table in tables for time_ns in table["time"]})


def slots_under(server: Server, keys: Sequence[Key]) -> Slots:
    """Give the slots that some sums of one kind are over; they should lie close together, or be of one ship."""
    (start_s, end_s), ships = _extent(keys), {key.ship for key in keys if key.kind.of_ship}
    which = "" if len(ships) != 1 else f" AND ship = '{next(iter(ships))}'"
    statement = (
        f"SELECT kwh, covered_s, provisional FROM energy WHERE time >= $start AND time < $end{which} GROUP BY ship"
    )
    tables = server.query([statement], {"start": start_s * NS_PER_S, "end": end_s * NS_PER_S})
    return Slots.concat([slots_of(table) for table in tables])


def slots_of(table: Table) -> Slots:
    """Turn rows of `energy`, grouped by ship, into slots; those without cover are left out."""
    covered_s = np.array(list(map(float, table["covered_s"])))
    return Slots(
        np.array(ships_of(table), np.int64),
        np.array(list(map(int, table["time"])), np.int64) // NS_PER_S,
        np.array(list(map(float, table["kwh"]))),
        covered_s,
        np.array([each == "true" for each in table["provisional"]], np.bool_),
    )[covered_s > 0]


def ships_of(table: Table) -> list[int]:
    """Give the ships of rows that are grouped by ship."""
    return [int(tags[len("ship=") :]) for tags in table["tags"]]


def _keys(kind: Kind, table: Table) -> Iterator[Key]:
    ships = ships_of(table) if kind.of_ship else [-1] * len(table["time"])
    return (Key(kind, ship, int(time_ns) // NS_PER_S) for ship, time_ns in zip(ships, table["time"], strict=True))


def _spans(keys: Sequence[Key]) -> Iterator[tuple[int, int, int]]:
    """Cover keys of one kind by few stretches of (ship, start, end): a new one where more than a month lies between."""
    ordered = sorted((key.ship, key.time_s) for key in keys)
    starts = [
        i
        for i, (ship, time_s) in enumerate(ordered)
        if i == 0 or ordered[i - 1][0] != ship or time_s - ordered[i - 1][1] > MONTH_S
    ]
    for start, end in pairwise([*starts, len(ordered)]):
        ship, time_s = ordered[start]
        yield ship, time_s, ordered[end - 1][1] + 1


def _extent(keys: Sequence[Key]) -> tuple[int, int]:
    times_s = [key.time_s for key in keys]
    return min(times_s), max(times_s) + keys[0].kind.length_s


def _together(stale: Iterable[Key]) -> list[Key]:
    """Choose some sums that are cheap to make together: a quarter of a day of the fleet, or a month of a ship."""
    first = next(iter(stale))
    reach_s = MONTH_S if first.kind.of_ship else DAY_S // 4
    return [key for key in stale if (key[:2] == first[:2] and 0 <= key.time_s - first.time_s < reach_s) or key == first]


def _series(key: Key) -> str:
    return f"{key.kind.name},ship={key.ship}" if key.kind.of_ship else key.kind.name


def _line(key: Key, each: Sum, mark: int) -> str:
    return (
        f"{_series(key)} kwh={each.kwh!r},covered_s={each.covered_us / US_PER_S!r},{key.kind.count}={each.slots}i,"
        f'whole={each.whole}i,provisional={each.provisional}i,nwh="{each.nwh}",clean={mark}i'
        f" {key.time_s * NS_PER_S}"
    )
