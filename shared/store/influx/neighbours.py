"""Finding the neighbours of new readings in InfluxDB: all ships at once, a few requests in all.

InfluxDB reads everything in a query's range before it sorts and limits. So the range is narrow at first, and widened
only where too little is in it.
"""

from bisect import bisect_left
from collections.abc import Generator, Iterable, Sequence

from shared.domain.readings import Readings
from shared.domain.slots import SLOT_US, slot_floor_us
from shared.domain.timestamps import US_PER_S
from shared.store.influx.server import NS_PER_US, Server, Table, complete
from shared.store.port import BEFORE, Neighbourhood, Span

NEAR_US = 4 * 86_400 * US_PER_S
FAR_US = 90 * 86_400 * US_PER_S
END_US = 7_258_118_400 * US_PER_S
"""The end of 2199: no reading is later."""
FIRST_LOOK = 12
"""How many readings before and after a span are read at once, which mostly are enough."""
SHIPS = 200

Row = tuple[int, int, float, bool, int]
"""As `Readings.from_rows` takes it."""


class _Ask:
    """A range of one ship's readings to be read: the first or last few of it, or all."""

    def __init__(self, ship: int, start_us: int, end_us: int, *, first: int = 0, last: int = 0) -> None:
        self.ship, self.start_us, self.end_us = ship, max(start_us, 0), end_us
        self.order = f" ORDER BY time DESC LIMIT {last}" if last else f" LIMIT {first}" if first else ""


_Search = Generator[list[_Ask], list[Row], Neighbourhood]
_Few = Generator[list[_Ask], list[Row], list[Row]]


def neighbourhoods(server: Server, spans: Sequence[Span]) -> list[Neighbourhood]:
    """See `ReadingStore`."""
    found: dict[int, Neighbourhood] = {}
    for start in range(0, len(spans), SHIPS):
        _search({span.ship: _neighbourhood(span) for span in spans[start : start + SHIPS]}, server, found)
    return [found[span.ship] for span in spans]


def _search(searches: dict[int, _Search], server: Server, found: dict[int, Neighbourhood]) -> None:
    """Run searches side by side: what all of them ask next goes into one request."""
    asked = {ship: next(search) for ship, search in searches.items()}
    while asked:
        rows = _read(server, [ask for asks in asked.values() for ask in asks])
        asked, answered = {}, asked
        for ship in answered:
            try:
                asked[ship] = searches[ship].send(rows.get(ship, []))
            except StopIteration as end:
                found[ship] = end.value


def _read(server: Server, asks: Sequence[_Ask]) -> dict[int, list[Row]]:
    """Give each ship's rows, in the order of time."""
    statements: list[str] = []
    values: dict[str, object] = {}
    for i, ask in enumerate(asks):
        statements.append(
            f"SELECT value, unit, sent_at FROM readings WHERE ship = $ship{i} AND time >= $start{i} AND time < $end{i}"
            f" GROUP BY ship{ask.order}"
        )
        values |= {f"ship{i}": str(ask.ship), f"start{i}": ask.start_us * NS_PER_US, f"end{i}": ask.end_us * NS_PER_US}
    rows: dict[int, list[Row]] = {}
    for table in server.query(statements, values):
        for row in _rows(table):
            rows.setdefault(row[0], []).append(row)
    return {ship: sorted(each) for ship, each in rows.items()}


def first_readings(server: Server, ship: int, start_us: int, end_us: int, count: int) -> Readings:
    """See `EnergyReader.readings`."""
    return Readings.from_rows(_read(server, [_Ask(ship, start_us, end_us, first=count)]).get(ship, []))


def _rows(table: Table) -> Iterable[Row]:
    table = complete(table)
    ships = (int(tags.removeprefix("ship=")) for tags in table["tags"])
    is_energy = (unit == "kWh" for unit in table["unit"])
    return zip(
        ships,
        (int(time_ns) // NS_PER_US for time_ns in table["time"]),
        map(float, table["value"]),
        is_energy,
        map(int, table["sent_at"]),
        strict=True,
    )


def _neighbourhood(span: Span) -> _Search:
    known = yield from _first_look(span)
    nearest = yield from known.before(span.first_us, 1)
    start_us = slot_floor_us(nearest[0][1] if nearest else span.first_us)
    stop_us = span.last_us + 1
    for _ in range(2):  # to the end of the next slot that holds a reading, and of the one after it
        found = yield from known.after(stop_us, 1)
        stop_us = slot_floor_us(found[0][1]) + SLOT_US if found else END_US
    before = yield from known.before(start_us, BEFORE)
    after = yield from known.after(stop_us, 1)
    within = yield from known.between(start_us, stop_us)
    return Neighbourhood(
        Readings.from_rows([*before, *within, *after]), from_oldest=len(before) < BEFORE, to_newest=not after
    )


class _Known:
    """What was read of a ship: everything from `start_us` to before `end_us`. It asks for what is missing."""

    def __init__(self, ship: int, start_us: int, end_us: int, rows: list[Row]) -> None:
        self._ship, self._start_us, self._end_us = ship, start_us, end_us
        self._rows = rows[self._at(start_us, rows) : self._at(end_us, rows)]

    def before(self, moment_us: int, n: int) -> _Few:
        """Give the last n readings before a moment, by time; fewer, if there are no more."""
        yield from self.between(min(moment_us, self._start_us), self._end_us)
        for reach_us in (FAR_US, END_US):
            if self._at(moment_us) >= n or self._start_us <= 0:
                break
            rows = yield [_Ask(self._ship, self._start_us - reach_us, self._start_us, last=n)]
            self._rows = [*rows, *self._rows]
            self._start_us = rows[0][1] if len(rows) == n else max(self._start_us - reach_us, 0)
        at = self._at(moment_us)
        return self._rows[max(at - n, 0) : at]

    def after(self, moment_us: int, n: int) -> _Few:
        """Give the first n readings from a moment on."""
        yield from self.between(self._start_us, max(moment_us, self._end_us))
        if len(self._rows) - self._at(moment_us) < n and self._end_us < END_US:
            rows = yield [_Ask(self._ship, self._end_us, END_US, first=FIRST_LOOK)]
            self._rows += rows
            self._end_us = rows[-1][1] + 1 if len(rows) == FIRST_LOOK else END_US
        at = self._at(moment_us)
        return self._rows[at : at + n]

    def between(self, start_us: int, end_us: int) -> _Few:
        """Give all readings from one moment to before another."""
        if start_us < self._start_us:
            self._rows = [*(yield [_Ask(self._ship, start_us, self._start_us)]), *self._rows]
            self._start_us = start_us
        if end_us > self._end_us:
            self._rows += yield [_Ask(self._ship, self._end_us, end_us)]
            self._end_us = end_us
        return self._rows[self._at(start_us) : self._at(end_us)]

    def _at(self, moment_us: int, rows: list[Row] | None = None) -> int:
        return bisect_left(self._rows if rows is None else rows, moment_us, key=lambda row: row[1])


def _first_look(span: Span) -> Generator[list[_Ask], list[Row], _Known]:
    ship, stop_us = span.ship, span.last_us + 1
    near_us, far_us = max(span.first_us - NEAR_US, 0), min(stop_us + NEAR_US, END_US)
    rows = yield [
        _Ask(ship, near_us, span.first_us, last=FIRST_LOOK),
        _Ask(ship, span.first_us, stop_us),
        _Ask(ship, stop_us, far_us, first=FIRST_LOOK),
    ]
    before, after = (sum(test(row[1]) for row in rows) for test in (span.first_us.__gt__, span.last_us.__lt__))
    return _Known(
        ship,
        rows[0][1] if before >= FIRST_LOOK else near_us,
        rows[-1][1] + 1 if after >= FIRST_LOOK else far_us,
        rows,
    )
