"""What has to be true in the end: what is stored is what was promised, and nothing else; exactly."""

import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psycopg
import urllib3

from normalizer_worker.ledger.dead_letter import MAX_PAYLOAD_BYTES
from normalizer_worker.ledger.dead_letters import Bounds, DeadLetters
from shared.contract.topics import ship_of
from shared.domain.readings import Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_S, Window
from shared.domain.timestamps import US_PER_S, iso
from shared.runtime.settings import StoreSettings
from shared.store.choice import open_store
from shared.store.packs import unpacked
from tests.support import reference
from tests.support.chaos.batches import START_US
from tests.support.chaos.ledger import Ledger
from tests.support.comparing import NEXT_TO_NOTHING_KWH, RELATIVE
from tests.support.influxdb import InfluxDb
from tests.support.reference import Reading, Slot

DECIMALS = 1e-6
"""What answers round to."""
TOLD, EXPLAINED = 20, 3
"""Of how many differences of a kind something is told, and of how many readings with all that was sent about them."""
Key = tuple[int, int]
SlotRow = list[float]
"""What is stored of a slot: energy, cover, whether it is provisional, and estimated seconds."""
READ = "SELECT ship, time_us, value, unit, sent_at_us, kind, duration_us, max_gap_us, rollover FROM readings"

_NAME = re.compile(rb'"batch_id": ?"([^"]*)"')


class Row(NamedTuple):
    """What is stored of a reading: the kind is held power or energy where it is None; 0 and None are not stated."""

    value: float | None
    unit: str
    sent_at_us: int
    kind: str | None
    duration_us: int | None
    max_gap_us: int | None
    rollover: float | None


class Letter(NamedTuple):
    """What is compared of a dead letter."""

    topic: str
    payload: bytes


class Stored(Protocol):
    """Raw readings and dead letters, read without the service."""

    def readings(self) -> dict[Key, Row]:
        """Give all of them, by ship and moment."""
        ...

    def letters(self) -> list[Letter]:
        """Give the dead letters."""
        ...


class InSqlite(NamedTuple):
    """Those of the embedded store."""

    folder: Path

    def letters(self) -> list[Letter]:
        """See `Stored`."""
        return _letters(self.folder)

    def readings(self) -> dict[Key, Row]:
        """See `Stored`."""
        file = f"file:{self.folder / 'power.sqlite'}?mode=ro"
        with closing(sqlite3.connect(file, uri=True, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            rows = {(ship, moment_us): Row(*row) for ship, moment_us, *row in connection.execute(READ)}
            packs = connection.execute("SELECT ship, pack FROM packed_readings").fetchall()
        in_packs = {row[:2]: _row(*row[2:]) for ship, pack in packs for row in unpacked(ship, pack).rows()}
        assert not rows.keys() & in_packs.keys(), "readings that are stored twice"
        return rows | in_packs


def _row(value: float, kind: int, sent_at_us: int, *stated: Any) -> Row:  # as `Row` has them
    of, label = Kind(kind), Kind(kind).label
    return Row(value, of.unit, sent_at_us, None if label == PLAIN[of.unit] else label, *stated)


class InInfluxDb(NamedTuple):
    """Those of an InfluxDB."""

    folder: Path
    influxdb: InfluxDb
    database: str

    def letters(self) -> list[Letter]:
        """See `Stored`."""
        return _letters(self.folder)

    def readings(self) -> dict[Key, Row]:
        """See `Stored`."""
        found: dict[Key, Row] = {}
        for series in self.influxdb.query(
            "SELECT value, unit, sent_at, kind, duration_s, max_gap_s, rollover FROM readings GROUP BY ship",
            self.database,
            "u",
        ):
            columns = series.columns
            names = ("time", "value", "unit", "sent_at", "kind", "duration_s", "max_gap_s", "rollover")
            rows = zip(*(columns[name] for name in names), strict=True)
            for moment_us, value, unit, sent_at_us, kind, *stated in rows:
                duration_us, gap_us = (round((each or 0) * US_PER_S) for each in stated[:2])
                row = Row(value, unit, sent_at_us, kind, duration_us, gap_us, stated[2] or 0)
                found[int(series.tags["ship"]), moment_us] = row
        return found


class InPostgres(NamedTuple):
    """Those of a PostgreSQL."""

    url: str

    def readings(self) -> dict[Key, Row]:
        """See `Stored`."""
        with closing(psycopg.connect(self.url)) as connection:
            return {(ship, moment_us): Row(*row) for ship, moment_us, *row in connection.execute(READ)}

    def letters(self) -> list[Letter]:
        """See `Stored`."""
        with closing(psycopg.connect(self.url)) as connection:
            return [Letter(*row) for row in connection.execute("SELECT topic, payload FROM dead_letters")]


def _letters(folder: Path) -> list[Letter]:
    with closing(DeadLetters(folder)) as letters:
        return [Letter(each.topic, each.payload) for each in letters.all()]


class Checker:
    """Compares; every difference goes to the ledger, the first ones in full."""

    def __init__(self, ledger: Ledger, environ: Mapping[str, str], stored: Stored) -> None:
        """Prepare.

        Args:
            ledger: what was promised.
            environ: the settings of the store.
            stored: its raw readings, and the dead letters.

        """
        self._ledger, self._environ, self._stored = ledger, environ, stored
        self._kinds: Counter[str] = Counter()

    def check(self, query_url: str) -> dict[str, int]:
        """Compare everything but the outcomes of single batches; give how many readings and slots there should be."""
        promised = self._ledger.readings()
        deletions = {ship: self._ledger.deletions(ship) for ship in promised}
        readings = {
            key: each
            for ship, own in promised.items()
            for key, each in reference.counting(own, deletions[ship]).items()
        }
        self._check_readings(readings)
        slots: dict[Key, Slot] = {}
        for ship, own in promised.items():
            slots |= reference.slots(own, DEFAULT_MAX_GAP_US, deletions[ship])
        self._check_slots(slots)
        self._check_fleet(slots, query_url)
        for window in _windows(slots):
            self._check_top(slots, query_url, window)
        self._check_dead_letters()
        for kind, count in self._kinds.items():
            if count > TOLD:
                self._ledger.differs(f"{kind}: {count} in all")
        return {"readings": len(readings), "slots": len(slots)}

    def _differs(self, kind: str, which: str, expected: object, found: object) -> None:
        """Tell of a difference, if not many of its kind are told of."""
        self._kinds[kind] += 1
        if self._kinds[kind] <= TOLD:
            self._ledger.differs(f"{kind} {which}: should be {expected}, is {found}")

    def _check_readings(self, expected: Mapping[Key, Reading]) -> None:
        found = self._stored.readings()
        for key in sorted(expected.keys() | found.keys()):
            reading, row = expected.get(key), found.get(key)
            if reading is None or row is None or not _is_same(reading, row):
                is_first = self._kinds["a reading"] < EXPLAINED
                behind = "".join(f"\n    {line}" for line in self._ledger.about(*key)) if is_first else ""
                self._differs("a reading", f"of ship {key[0]} at {iso(key[1])}", reading, f"{row}{behind}")

    def _check_slots(self, expected: Mapping[Key, Slot]) -> None:
        found: dict[Key, SlotRow] = {}
        with closing(open_store(StoreSettings.load({**self._environ}))) as store:
            ships = {ship for ship, _ in expected} | {each.ship for each in store.top_ships(Window(), 100_000)}
            for ship in sorted(ships):
                slots = store.slots(ship, Window())
                found |= {(ship, start_s): row for _, start_s, *row in slots.rows()}
        for key in sorted(expected.keys() | found.keys()):
            slot, row = expected.get(key), found.get(key)
            if slot is None or row is None or not _is_same_slot(slot, row):
                should = slot and [float(slot.kwh), *_beside_energy(slot)]
                self._differs("a slot", f"of ship {key[0]} at {iso(key[1] * US_PER_S)}", should, row)

    def _check_fleet(self, slots: Mapping[Key, Slot], url: str) -> None:
        by_start: dict[int, list[Slot]] = {}
        for (_, start_s), slot in slots.items():
            by_start.setdefault(start_s, []).append(slot)
        expected = {iso(start_s * US_PER_S): _fleet_row(own) for start_s, own in by_start.items()}
        found = {row.pop("datetime"): row for row in _get(f"{url}/data/fleet?detail=true")["data"]}
        for start in sorted(expected.keys() | found.keys()):
            if not _is_same_row(expected.get(start), found.get(start)):
                self._differs("/data/fleet", f"at {start}", expected.get(start), found.get(start))

    def _check_top(self, slots: Mapping[Key, Slot], url: str, window: tuple[int, int] | None) -> None:
        start, end = (iso(each * US_PER_S) for each in window or (0, 0))
        which = f"from {start} to {end}" if window else "of all time"
        within = f"&start={start}&end={end}" if window else ""
        totals: dict[int, Fraction] = {}
        for (ship, start_s), slot in slots.items():
            if window is None or window[0] <= start_s < window[1]:
                totals[ship] = totals.get(ship, Fraction(0)) + slot.kwh
        rows = _get(f"{url}/topusers?count=1000{within}")["ships"]
        found = {row["spaceship_id"]: {"consumption": row["consumption"]} for row in rows}
        for ship in sorted(totals.keys() | found.keys()):
            expected = {"consumption": float(totals[ship])} if ship in totals else None
            if not _is_same_row(expected, found.get(ship)):
                self._differs("/topusers", f"{which}, ship {ship}", expected, found.get(ship))
        if [row["consumption"] for row in rows] != sorted((row["consumption"] for row in rows), reverse=True):
            self._differs("/topusers", which, "sorted", rows)

    def _check_dead_letters(self) -> None:
        found = self._stored.letters()
        names = {letter.payload: _name(letter.payload) for letter in found}
        by_ship = Counter(ship_of(letter.topic) for letter in found)
        for missing in sorted(self._ledger.told.keys() - set(names.values())):
            if by_ship[self._ledger.told[missing]] >= Bounds().letters_of_ship:
                continue  # the oldest were deleted
            self._differs("a batch", missing, "a dead letter", "was rejected, and is no dead letter")
        unreadable = {each[:MAX_PAYLOAD_BYTES] for each in self._ledger.unreadable}
        for payload, name in names.items():
            if name not in self._ledger.rejected and payload not in unreadable:
                self._differs("a dead letter", f"of {name}", "none", payload)


def check_batches(ledger: Ledger, names: list[str]) -> None:
    """Ask the gateways what became of batches that they have accepted."""
    with urllib3.PoolManager(retries=False) as http:
        for name in names:
            answer = http.request("GET", f"{ledger.gateways[name]}/batches/{name}", timeout=10)
            if answer.status != 200 or answer.json()["status"] != ledger.outcomes[name]:
                ledger.differs(f"GET /batches/{name}: {answer.status} {answer.data!r}, not {ledger.outcomes[name]}")


def _windows(slots: Mapping[Key, Slot]) -> Iterator[tuple[int, int] | None]:
    """Give all time, and two windows that cut days."""
    yield None
    if starts := sorted({start_s for _, start_s in slots}):
        middle = starts[len(starts) // 2]
        yield starts[0], middle
        yield middle, starts[-1] + SLOT_S


def _name(payload: bytes) -> str | None:
    """Find the name of a batch in what a dead letter keeps of it: perhaps only the beginning."""
    found = _NAME.search(payload)
    return found[1].decode() if found else None


def _is_same(reading: Reading, row: Row) -> bool:
    """Compare a reading with what is stored; an undated one has there a `sent_at` of the service's own."""
    kind = Kind(reading.kind)
    if kind != Kind.UNKNOWN and row.value != reading.value:
        return False
    if reading.sent_at_us >= START_US and row.sent_at_us != reading.sent_at_us:
        return False
    stated = (row.kind or PLAIN[row.unit], *(each or 0 for each in row[4:]))
    return row.unit == kind.unit and stated == (kind.label, *reading[5:])


PLAIN = {"kW": Kind.POWER_KW.label, "kWh": Kind.ENERGY_KWH.label}


def _beside_energy(slot: Slot) -> list[float]:
    return [slot.covered_us / US_PER_S, slot.provisional, slot.estimated_us / US_PER_S]


def _is_same_slot(slot: Slot, row: SlotRow) -> bool:
    return row[1:] == _beside_energy(slot) and math.isclose(
        row[0], float(slot.kwh), rel_tol=RELATIVE, abs_tol=NEXT_TO_NOTHING_KWH
    )


def _fleet_row(slots: list[Slot]) -> dict[str, Any]:
    kwh = sum((slot.kwh for slot in slots), Fraction(0))
    return {
        "sum": float(kwh),
        "avg": float(kwh / len(slots)),
        "covered_seconds": sum(slot.covered_us for slot in slots) / US_PER_S,
        "estimated_seconds": sum(slot.estimated_us for slot in slots) / US_PER_S,
        "provisional": any(slot.provisional for slot in slots),
        "ships": len(slots),
        "whole_ships": sum(slot.covered_us == reference.SLOT_US for slot in slots),
    }


def _is_same_row(expected: dict[str, Any] | None, found: dict[str, Any] | None) -> bool:
    if expected is None or found is None or expected.keys() != found.keys():
        return False
    return all(math.isclose(expected[name], found[name], rel_tol=RELATIVE, abs_tol=DECIMALS) for name in expected)


def _get(url: str) -> Any:
    with urllib3.PoolManager(retries=False) as http:
        answer = http.request("GET", url, timeout=60)
        if answer.status != 200:
            message = f"GET {url}: {answer.status} {answer.data!r}"
            raise AssertionError(message)
        return answer.json()
