"""Sums of slots in InfluxDB: the fleet's per slot, each ship's per day and of all time.

A sum is the sum before, less what a slot was, and what it is now: exactly, since energy is counted in whole nWh. Before
a slot is written its sums are marked (`mark`, a number of its own each time), and a sum is written with the mark that
it was made for (`clean`): where the two differ, a worker died in between, and the sum is to be made anew from the
slots. The worker makes the sums: `roll_up_writer.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from shared.domain.columns import I64, starts
from shared.domain.readings import Readings
from shared.domain.slots import SLOT_S, SLOT_US, Slots
from shared.domain.timestamps import US_PER_S
from shared.store.influx.server import NS_PER_S, Server, Table, complete

HOUR_S = 3600
DAY_S = 86_400
MONTH_S = 30 * DAY_S
NWH_PER_KWH = 10**12
PART = 200
TRIES = 3
"""How often days are summed up that are being written."""
NEVER = -1
ALL_TIME_S = 10**10
"""Longer than all the time there is."""
PINNED_S = 8_835_897_600
"""The year 2250: a sum of all time is kept there, where no retention policy takes it away."""
NO_SLOT_S = 2**53


class Sum(NamedTuple):
    """A sum of slots: energy in nWh, cover and estimated time in us, how many they are, are whole, are provisional.

    No slot of it starts before `first_s` or after `last_s`, but hardly one need be near them. A ship's sum of all time
    also reaches over the slots in which its readings are: what these speak for may lie beside them.
    """

    nwh: int = 0
    covered_us: int = 0
    slots: int = 0
    whole: int = 0
    provisional: int = 0
    estimated_us: int = 0
    first_s: int = NO_SLOT_S
    last_s: int = NEVER

    def __bool__(self) -> bool:
        """Tell whether there is a slot."""
        return self.slots > 0

    @property
    def kwh(self) -> float:
        """The energy in kWh."""
        return self.nwh / NWH_PER_KWH

    def plus(self, other: "Sum") -> "Sum":
        """Add."""
        return Sum(
            self.nwh + other.nwh,
            self.covered_us + other.covered_us,
            self.slots + other.slots,
            self.whole + other.whole,
            self.provisional + other.provisional,
            self.estimated_us + other.estimated_us,
            min(self.first_s, other.first_s),
            max(self.last_s, other.last_s),
        )


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
        kept: its fields, but for the marks.
        at_s: so much later than that time begins it is stored.

    """

    name: str
    count: str
    of_ship: bool
    length_s: int
    kept: tuple[str, ...]
    at_s: int = 0


KEPT_ALWAYS = 5
"""So many of the fields come first that no sum lacks: `estimated_s` is missing in those of an earlier release."""
_ENERGY = ("nwh", "covered_s", "whole", "provisional", "estimated_s")
FLEET = Kind("fleet", "ships", of_ship=False, length_s=SLOT_S, kept=("ships", *_ENERGY))
SHIP_DAYS = Kind("ship_days", "slots", of_ship=True, length_s=DAY_S, kept=("slots", *_ENERGY))
SHIPS = Kind("ships", "slots", of_ship=True, length_s=ALL_TIME_S, kept=("whole", "first_s", "last_s"), at_s=PINNED_S)
KINDS = (FLEET, SHIP_DAYS, SHIPS)


def sums(kind: Kind, slots: Slots, sign: int = 1) -> dict[Key, Sum]:
    """Sum slots; those without cover do not count."""
    slots = slots[slots.covered_s > 0]
    if not len(slots):
        return {}
    ship = slots.ship if kind.of_ship else np.full(len(slots), -1)
    time_s = slots.start_s // kind.length_s * kind.length_s + kind.at_s
    order = np.lexsort((slots.start_s, ship))
    ship, time_s, slots = ship[order], time_s[order], slots[order]
    first = np.flatnonzero(starts(ship, time_s))
    last = np.append(first[1:], [len(slots)]) - 1
    whole_kwh = np.trunc(slots.kwh)
    covered_us = np.round(slots.covered_s * US_PER_S).astype(np.int64)
    columns = [
        (sign * np.add.reduceat(each.astype(np.int64), first)).tolist()
        for each in (
            whole_kwh,
            np.round((slots.kwh - whole_kwh) * NWH_PER_KWH),
            covered_us,
            np.ones(len(slots)),
            covered_us >= SLOT_S * US_PER_S,
            slots.provisional,
            np.round(slots.estimated_s * US_PER_S),
        )
    ]
    keys = zip(ship[first].tolist(), time_s[first].tolist(), strict=True)
    reach = (each.tolist() for each in _to_the_hour(slots.start_s[first], slots.start_s[last]))
    return {
        Key(kind, *key): Sum(whole * NWH_PER_KWH + rest, *others)
        for key, whole, rest, *others in zip(keys, *columns, *reach, strict=True)
    }


def reaches(readings: Readings) -> dict[Key, Sum]:
    """Return the slots in which ships' readings are, as sums of all time without energy."""
    if not len(readings):
        return {}
    start_s = readings.moment_us // SLOT_US * SLOT_S
    order = np.lexsort((start_s, readings.ship))
    ship, start_s = readings.ship[order], start_s[order]
    first = np.flatnonzero(starts(ship))
    last = np.append(first[1:], [len(ship)]) - 1
    return {
        Key(SHIPS, number, PINNED_S): Sum(first_s=first_s, last_s=last_s)
        for number, first_s, last_s in zip(
            ship[first].tolist(), *(each.tolist() for each in _to_the_hour(start_s[first], start_s[last])), strict=True
        )
    }


def _to_the_hour(first_s: I64, last_s: I64) -> tuple[I64, I64]:
    """Widen reaches, so that what is kept of a ship seldom changes."""
    return first_s // HOUR_S * HOUR_S, last_s // HOUR_S * HOUR_S + HOUR_S - SLOT_S


def read(server: Server, keys: Sequence[Key]) -> Iterator[tuple[Key, Sum, int, int]]:
    """Give the stored ones of some sums, with their `mark` and `clean`."""
    wanted = set(keys)
    for kind in KINDS:
        spans = list(_spans([key for key in keys if key.kind == kind]))
        for start in range(0, len(spans), PART):
            yield from (each for each in _read(server, kind, spans[start : start + PART]) if each[0] in wanted)


def _read(server: Server, kind: Kind, spans: Sequence[tuple[int, int, int]]) -> Iterator[tuple[Key, Sum, int, int]]:
    statements = [
        f"SELECT {', '.join(kind.kept)}, mark, clean FROM {kind.name}"
        f" WHERE time >= $start{i} AND time < $end{i}" + (f" AND ship = $ship{i} GROUP BY ship" if kind.of_ship else "")
        for i in range(len(spans))
    ]
    values: dict[str, object] = {}
    for i, (ship, start_s, end_s) in enumerate(spans):
        values |= {f"start{i}": start_s * NS_PER_S, f"end{i}": end_s * NS_PER_S}
        if kind.of_ship:
            values[f"ship{i}"] = str(ship)
    for table in server.query(statements, values) if statements else ():
        columns = zip(*(table[name] for name in (*kind.kept, "mark", "clean")), strict=True)
        for key, (*kept, mark, clean) in zip(_keys(kind, table), columns, strict=True):
            there = Sum() if "" in kept[:KEPT_ALWAYS] else _sum(kind, *kept)
            yield key, there, int(mark or NEVER), int(clean or 0)  # one that is being written is not clean


def _sum(kind: Kind, *kept: str) -> Sum:
    if kind is SHIPS:
        return ship_sum(*kept)
    slots, nwh, covered_s, whole, provisional, estimated_s = kept
    covered_us, estimated_us = (round(float(each or 0) * US_PER_S) for each in (covered_s, estimated_s))
    return Sum(int(nwh), covered_us, int(slots), int(whole), int(provisional), estimated_us)


def ship_sum(whole: str, first_s: str, last_s: str) -> Sum:
    """Give a ship's sum of all time as it is stored: only what is needed of it."""
    return Sum(whole=int(whole), first_s=int(first_s), last_s=int(last_s))


def read_stale(server: Server, kind: Kind, which: str = "") -> list[Key]:
    """Give the sums that are out of date; `which` goes on after a condition."""
    by_ship = " GROUP BY ship" if kind.of_ship else ""
    tables = server.query([f"SELECT mark, clean FROM {kind.name} WHERE mark != clean{which}{by_ship}"], {})
    return [key for table in tables for key in _keys(kind, table)]


def stale_times_s(server: Server, kind: Kind, which: str = "", values: Mapping[str, object] | None = None) -> list[int]:
    """Give the times of sums that are out of date, of any ship, each once; `which` goes on after a condition."""
    # Not by ship, where there are many that is twice as quick.
    statement = f"SELECT mark, clean FROM {kind.name} WHERE mark != clean{which}"
    tables = server.query([statement], values or {})
    return sorted({int(time_ns) // NS_PER_S for table in tables for time_ns in table["time"]})


def ships_in(server: Server, measurement: str, count: int | None = None) -> list[int]:
    """Return the ships that have points in a measurement, by id; with a count any so many of them."""
    limit = "" if count is None else f" LIMIT {count}"
    tables = server.query([f"SHOW TAG VALUES FROM {measurement} WITH KEY = ship{limit}"], {})
    return sorted(int(ship) for table in tables for ship in table["value"])


def of_ships(ships: Sequence[int]) -> str:
    """Write a condition for one or more ships."""
    if len(ships) == 1:
        return f"ship = '{ships[0]}'"
    return f"ship =~ /^({'|'.join(map(str, ships))})$/"


def of_all_time(server: Server, ships: Sequence[int]) -> dict[int, Sum]:
    """Sum up some ships' slots of all time from their days, and from the slots of days that are out of date."""
    which = f" AND {of_ships(ships)}"
    stale, found = read_stale(server, SHIP_DAYS, which), _of_finished_days(server, which, ships)
    for _ in range(TRIES):
        before, stale = stale, read_stale(server, SHIP_DAYS, which)
        if before == stale:
            break
        found = _of_finished_days(server, which, ships)  # else a day may count twice, or not at all
    for ship, start_s, end_s in _spans(stale) if stale else ():
        keys = [key for key in stale if key.ship == ship and start_s <= key.time_s < end_s]
        made = sums(SHIP_DAYS, slots_under(server, keys))
        for key in keys:
            found[ship] = found[ship].plus(made.get(key, Sum()))
    return found


def _of_finished_days(server: Server, which: str, ships: Sequence[int]) -> dict[int, Sum]:
    days = f"FROM {SHIP_DAYS.name} WHERE"
    statements = [
        f"SELECT sum(whole) AS whole {days} mark = clean{which} GROUP BY ship",
        f"SELECT first(slots) AS first {days} time >= 0{which} GROUP BY ship",
        f"SELECT last(slots) AS last {days} time >= 0{which} GROUP BY ship",
        f"SELECT first(sent_at) AS first FROM readings WHERE time >= 0{which} GROUP BY ship",
        f"SELECT last(sent_at) AS last FROM readings WHERE time >= 0{which} GROUP BY ship",
    ]
    found = dict.fromkeys(ships, Sum())
    for table in server.query(statements, {}):
        for i, ship in enumerate(ships_of(table)):
            day_s = int(table["time"][i]) // NS_PER_S // DAY_S * DAY_S
            if "first" in table:
                part = Sum(first_s=day_s)
            elif "last" in table:
                part = Sum(last_s=day_s + DAY_S - SLOT_S)
            else:
                part = Sum(whole=int(table["whole"][i]))
            found[ship] = found[ship].plus(part)
    return found


def slots_under(server: Server, keys: Sequence[Key]) -> Slots:
    """Give the slots that some sums of one kind are over; they should lie close together, or be of one ship."""
    times_s, ships = [key.time_s for key in keys], {key.ship for key in keys if key.kind.of_ship}
    start_s, end_s = min(times_s), max(times_s) + keys[0].kind.length_s
    which = "" if len(ships) != 1 else f" AND ship = '{next(iter(ships))}'"
    fields = "kwh, covered_s, provisional, estimated_s"
    statement = f"SELECT {fields} FROM energy WHERE time >= $start AND time < $end{which} GROUP BY ship"
    tables = server.query([statement], {"start": start_s * NS_PER_S, "end": end_s * NS_PER_S})
    return Slots.concat([slots_of(table) for table in tables])


def slots_of(table: Table) -> Slots:
    """Turn rows of `energy`, grouped by ship, into slots; those without cover are left out."""
    table = complete(table, ("estimated_s",))
    covered_s = np.array(list(map(float, table["covered_s"])))
    return Slots(
        np.array(ships_of(table), np.int64),
        np.array(list(map(int, table["time"])), np.int64) // NS_PER_S,
        np.array(list(map(float, table["kwh"]))),
        covered_s,
        np.array([each == "true" for each in table["provisional"]], np.bool_),
        np.array([float(each or 0) for each in table["estimated_s"]], np.float64),
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
