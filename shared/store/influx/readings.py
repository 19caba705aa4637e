"""Reading readings from InfluxDB: ranges of many ships at once, in a few requests.

InfluxDB reads everything in the time range of a query before it sorts and limits. So the first request looks close to
the ranges only, and the next ones look farther, for the ships where that was not enough.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

from shared.domain.columns import rows as rows_of
from shared.domain.readings import PLAIN, Kind, ReadingRanges, ReadingRow, Readings
from shared.domain.timestamps import US_PER_S
from shared.store.influx.server import NS_PER_US, Server, Table, complete

NEAR_US = 4 * 86_400 * US_PER_S
FAR_US = 90 * 86_400 * US_PER_S
END_US = 7_258_118_400 * US_PER_S
"""The end of 2199: no reading is later."""
STEPS_US = ((0, NEAR_US, 0, NEAR_US), (NEAR_US, FAR_US, NEAR_US, END_US), (FAR_US, END_US, END_US, END_US))
"""How far before a range each request looks, from and to, and how far after it."""
READ_AHEAD = 12
"""How many readings next to a range are read where some are wanted."""
SHIPS = 200
"""How many ships one request is about."""

_Range = tuple[int, int, int, int, int]
"""One row of `ReadingRanges`."""


_STATED = ("duration_s", "max_gap_s", "rollover")
_OPTIONAL = ("value", "kind", *_STATED)
_FIELDS = ("unit", "sent_at", *_OPTIONAL)
_PLAIN = {kind.unit: kind for kind in PLAIN}
"""The kinds that are not named: the unit tells them. Earlier releases knew no others."""
_NAMED = [f'unit="{kind.unit}",kind="{kind.label}"' for kind in Kind]
"""The fields of each kind, by its number."""
_SHORT = [f'unit="{kind.unit}"' if kind in PLAIN else _NAMED[kind] for kind in Kind]


class _Ask(NamedTuple):
    """A range of one ship's readings to read: all of it, or the readings at one end."""

    ship: int
    start_us: int
    end_us: int
    order: str = ""


def readings_around(server: Server, ranges: ReadingRanges) -> Readings:
    """See `ReadingStore`."""
    rows = list(ranges.rows())
    parts = (_around(server, rows[start : start + SHIPS]) for start in range(0, len(rows), SHIPS))
    return Readings.from_rows([row for part in parts for row in part])


def first_readings(server: Server, ship: int, start_us: int, end_us: int, count: int) -> Readings:
    """See `EnergyReader.readings`."""
    return Readings.from_rows(_read(server, [_Ask(ship, start_us, end_us, f" ORDER BY time LIMIT {count}")]))


def _around(server: Server, ranges: Sequence[_Range]) -> list[ReadingRow]:
    """Return the rows of ranges, sorted by ship and time."""
    found: dict[int, list[ReadingRow]] = {each[0]: [] for each in ranges}
    asks = [_Ask(ship, start_us, end_us) for ship, start_us, end_us, *_ in ranges if start_us < end_us]
    for step in STEPS_US:
        for each in ranges:
            asks += _asks_beside(each, found[each[0]], step)
        if not asks:
            break
        for row in _read(server, asks):
            found[row[0]].append(row)
        for rows in found.values():
            rows.sort()
        asks = []
    return [row for rows in found.values() for row in rows]


def _asks_beside(each: _Range, found: Sequence[ReadingRow], step: tuple[int, int, int, int]) -> Iterator[_Ask]:
    """Return what to read next of a range's neighbours, if too few were found."""
    ship, start_us, end_us, before, after = each
    before_from_us, before_to_us, after_from_us, after_to_us = step
    if before > _count_before(found, start_us):
        order = f" ORDER BY time DESC LIMIT {max(before, READ_AHEAD)}"
        yield _Ask(ship, max(start_us - before_to_us, 0), start_us - before_from_us, order)
    if after > len(found) - _count_before(found, end_us):
        order = f" ORDER BY time LIMIT {max(after, READ_AHEAD)}"
        yield _Ask(ship, end_us + after_from_us, min(end_us + after_to_us, END_US), order)


def _count_before(rows: Sequence[ReadingRow], moment_us: int) -> int:
    return bisect_left(rows, moment_us, key=lambda row: row[1])


def _read(server: Server, asks: Sequence[_Ask]) -> list[ReadingRow]:
    """Return the rows of each ask, by time; empty ranges are not asked for."""
    statements: list[str] = []
    values: dict[str, object] = {}
    for i, (ship, start_us, end_us, order) in enumerate(ask for ask in asks if ask.start_us < ask.end_us):
        statements.append(
            f"SELECT {', '.join(_FIELDS)} FROM readings WHERE ship = $ship{i} AND time >= $start{i} AND time < $end{i}"
            f" GROUP BY ship{order}"
        )
        values |= {f"ship{i}": str(ship), f"start{i}": start_us * NS_PER_US, f"end{i}": end_us * NS_PER_US}
    return sorted(row for table in server.query(statements, values) for row in _rows(table)) if statements else []


def _rows(table: Table) -> Iterable[ReadingRow]:
    table = complete(table, _OPTIONAL)
    kinds = [_kind(*each) for each in zip(table["kind"], table["unit"], strict=True)]
    return zip(
        (int(tags.removeprefix("ship=")) for tags in table["tags"]),
        (int(time_ns) // NS_PER_US for time_ns in table["time"]),
        map(float, (each or "nan" for each in table["value"])),
        kinds,
        map(int, table["sent_at"]),
        *([round(float(each or 0) * US_PER_S) for each in table[name]] for name in ("duration_s", "max_gap_s")),
        [float(each or 0) for each in table["rollover"]],
        strict=True,
    )


def _kind(label: str, unit: str) -> Kind:
    return Kind.of_label(label) if label else _PLAIN[unit]


def lines(readings: Readings, replaced: Readings) -> Iterator[str]:
    """Return a line for each reading.

    A field that it lacks, and that the one which it replaces has, would stay. So what it does not state is then written
    as 0, and its kind is named though its unit tells it: also the kind of an ordinary one may be named there.
    """
    fields = _NAMED if len(replaced) else _SHORT
    columns = rows_of(readings.ship, readings.value, readings.kind, readings.sent_at_us, readings.moment_us * NS_PER_US)
    if readings.stated is None and replaced.stated is None and (readings.kind != Kind.UNKNOWN).all():
        for ship, value, kind, sent_at_us, time_ns in columns:  # nearly all are like that: it is quicker
            yield f"readings,ship={ship} value={value!r},{fields[kind]},sent_at={sent_at_us}i {time_ns}"
        return
    for (ship, value, kind, sent_at_us, time_ns), stated in zip(columns, _statements(readings, replaced), strict=True):
        of_value = "" if kind == Kind.UNKNOWN else f"value={value!r},"
        yield f"readings,ship={ship} {of_value}{fields[kind]},sent_at={sent_at_us}i{stated} {time_ns}"


def _statements(readings: Readings, replaced: Readings) -> Iterable[str]:
    """Return the fields for what each reading states."""
    if readings.stated is None and replaced.stated is None:
        return repeat("", len(readings))
    stated = [_stated(*each) for each in _stated_columns(readings)]
    keys, were = (list(zip(each.ship.tolist(), each.moment_us.tolist(), strict=True)) for each in (readings, replaced))
    before = dict(zip(were, (_stated(*each) for each in _stated_columns(replaced)), strict=True))
    stated = [dict.fromkeys(before.get(key, ()), 0.0) | own for key, own in zip(keys, stated, strict=True)]
    return ("".join(f",{name}={each!r}" for name, each in fields.items()) for fields in stated)


def _stated_columns(readings: Readings) -> Iterator[tuple[float, ...]]:
    stated = readings.what_is_stated()
    return rows_of(stated.duration_us / US_PER_S, stated.max_gap_us / US_PER_S, stated.rollover)


def _stated(*values: float) -> dict[str, float]:
    return {name: value for name, value in zip(_STATED, values, strict=True) if value}
