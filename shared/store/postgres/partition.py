"""The writing half of the store in PostgreSQL: one partition, for the worker that owns it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from shared.domain.columns import I64, starts
from shared.domain.covariates import Covariates
from shared.domain.deletions import Deletions
from shared.domain.errors import InvalidSettings
from shared.domain.readings import PLAIN, Kind, ReadingRanges, Readings
from shared.domain.slots import ShipWindows, Slots
from shared.store.postgres import roll_ups
from shared.store.postgres.arrays import columns_of
from shared.store.postgres.selected import (
    COVARIATES_OF_SHIP,
    DELETIONS,
    READING,
    READINGS,
    READINGS_OF_SHIP,
    SLOT,
    SLOTS,
    covariates_of,
    readings_of,
)
from shared.store.postgres.writer import Statement, Transaction, Writer

READ_AHEAD = 8
"""How many readings next to a range are read where some are wanted: enough for slots of three readings."""
MAX_KNOWN_SHIPS = 100_000

_UNIT, _LABEL = (
    " ".join(f"WHEN {kind.value} THEN '{getattr(kind, name)}'" for kind in kinds)
    for name, kinds in (("unit", Kind), ("label", [kind for kind in Kind if kind not in PLAIN]))
)

_OF_SHIP = f"SELECT {READING} FROM readings WHERE partition = %s AND ship = w.wanted"
_AROUND = f"""
SELECT {READINGS} FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
    AS w (wanted, start_us, end_us, before, after)
CROSS JOIN LATERAL (
    ({_OF_SHIP} AND time_us < w.start_us ORDER BY time_us DESC LIMIT w.before)
    UNION ALL ({_OF_SHIP} AND time_us >= w.start_us AND time_us < w.end_us ORDER BY time_us)
    UNION ALL ({_OF_SHIP} AND time_us >= w.end_us ORDER BY time_us LIMIT w.after)
) AS r
"""
# What is sorted in a subquery is looked up ship by ship.
_STORED = f"""
SELECT {SLOTS} FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS w (wanted, first_s, end_s)
CROSS JOIN LATERAL (
    SELECT {SLOT} FROM energy
    WHERE partition = %s AND ship = w.wanted AND start_s >= w.first_s AND start_s < w.end_s ORDER BY start_s
) AS e
"""
# What a reading does not state is null; so are the kind of a held or energy reading and the value of an unknown one.
_REPLACED = """
value = EXCLUDED.value, unit = EXCLUDED.unit, kind = EXCLUDED.kind, sent_at_us = EXCLUDED.sent_at_us,
    duration_us = EXCLUDED.duration_us, max_gap_us = EXCLUDED.max_gap_us, rollover = EXCLUDED.rollover
"""
_READ = f"""
u.ship, u.time_us, nullif(u.value, 'NaN'), CASE u.kind {_UNIT} END, CASE u.kind {_LABEL} END, u.sent_at_us
"""
PUT_READINGS = f"""
INSERT INTO readings (partition, ship, time_us, value, unit, kind, sent_at_us)
SELECT %s, {_READ}
FROM unnest(%s::bigint[], %s::bigint[], %s::float8[], %s::smallint[], %s::bigint[])
    AS u (ship, time_us, value, kind, sent_at_us)
ON CONFLICT (partition, ship, time_us) DO UPDATE SET {_REPLACED}
"""
_PUT_STATED = f"""
INSERT INTO readings (partition, ship, time_us, value, unit, kind, sent_at_us, duration_us, max_gap_us, rollover)
SELECT %s, {_READ}, nullif(u.duration_us, 0), nullif(u.max_gap_us, 0), nullif(u.rollover, 0)
FROM unnest(%s::bigint[], %s::bigint[], %s::float8[], %s::smallint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::float8[]) AS u (ship, time_us, value, kind, sent_at_us, duration_us, max_gap_us, rollover)
ON CONFLICT (partition, ship, time_us) DO UPDATE SET {_REPLACED}
"""
_REMOVE_READINGS = "DELETE FROM readings WHERE partition = %s AND ship = %s AND time_us >= %s AND time_us < %s"
PUT_SLOTS = """
INSERT INTO energy (partition, ship, start_s, kwh, covered_s, provisional, estimated_s)
SELECT %s, u.*
FROM unnest(%s::bigint[], %s::bigint[], %s::float8[], %s::float8[], %s::boolean[], %s::float8[]) AS u
ON CONFLICT (partition, ship, start_s) DO UPDATE SET
    kwh = EXCLUDED.kwh, covered_s = EXCLUDED.covered_s, provisional = EXCLUDED.provisional,
    estimated_s = EXCLUDED.estimated_s
"""
_DELETIONS = f"""
SELECT {DELETIONS} FROM (
    SELECT ship, start_us, end_us, sent_at_us FROM deletions WHERE partition = %s AND ship = ANY(%s::bigint[])
    ORDER BY ship, start_us
) AS d
"""
_FORGET_DELETIONS = "DELETE FROM deletions WHERE partition = %s AND ship = ANY(%s::bigint[])"
_PUT_DELETIONS = """
INSERT INTO deletions (partition, ship, start_us, end_us, sent_at_us)
SELECT %s, u.* FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS u
"""
_PUT_COVARIATES = """
INSERT INTO covariates (partition, ship, sent_at_us, content) VALUES (%s, %s, %s, %s)
ON CONFLICT (partition, ship) DO UPDATE SET sent_at_us = EXCLUDED.sent_at_us, content = EXCLUDED.content
"""
_TAKE_SLOTS = """
DELETE FROM energy e USING unnest(%s::bigint[], %s::bigint[]) AS u (ship, start_s)
WHERE e.partition = %s AND e.ship = u.ship AND e.start_s = u.start_s
"""
_ADD_SHIPS = """
WITH added AS (
    INSERT INTO ships (ship, partition) SELECT u.ship, %s FROM unnest(%s::bigint[]) AS u (ship) ON CONFLICT DO NOTHING
)
SELECT ship, partition FROM ships WHERE ship = ANY(%s::bigint[]) AND partition <> %s LIMIT 1
"""


class PostgresPartition:
    """One partition of the store; for the one thread that owns it.

    It implements `ReadingStore`. Statements are gathered, and sent when something is read, or at the end of the
    transaction: as a rule all of them in one round trip.
    """

    def __init__(self, writer: Writer, number: int) -> None:
        """Keep the parts. Nothing may be written before `take`."""
        self.number, self.epoch = number, 0
        self._writer = writer
        self._transaction: Transaction | None = None
        self._pending: list[Statement] = []
        self._known_ships: set[int] = set()

    def take(self) -> None:
        """Raise the partition's epoch: nobody who knows an older one can write it any more.

        What was read or cached of it before no longer counts.

        Raises:
            Unavailable: the server does not answer.

        """
        self.epoch = self._writer.take(self.number)
        self._known_ships.clear()

    @contextmanager
    def fenced(self) -> Iterator[Transaction]:
        """Context for a transaction of this partition; it is committed at the end, or undone after an error.

        Raises:
            Refused: the database rejects a row.
            Unavailable: another worker owns the partition, or the server does not answer. Nothing is stored; or all of
                it may be, if only the answer was lost.

        """
        transaction = Transaction(self._writer, self.number, self.epoch)
        try:
            yield transaction
            transaction.commit()
        except BaseException:
            transaction.roll_back()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `ReadingStore` and `fenced`."""
        try:
            with self.fenced() as transaction:
                self._transaction = transaction
                yield
                transaction.run(self._gathered())
        except BaseException:
            self._known_ships.clear()
            raise
        finally:
            self._transaction = None
            self._pending.clear()

    def _gathered(self) -> list[Statement]:
        """Return the statements that are to be sent, and forget them."""
        pending, self._pending = self._pending, []
        return pending

    def _read(self, query: str, parameters: Sequence[Any]) -> tuple[Any, ...]:
        """Return a row, after what is gathered was sent."""
        transaction = self._transaction
        if transaction is None or not (self._pending or transaction.has_begun):
            return self._writer.rows(query, parameters)[0]
        rows = transaction.run([*self._gathered(), (query, parameters)])[-1].fetchall()
        return tuple(rows[0])

    def readings_around(self, ranges: ReadingRanges) -> Readings:
        """See `ReadingStore`."""
        before, after = (np.where(each > 0, np.maximum(each, READ_AHEAD), 0) for each in (ranges.before, ranges.after))
        of = self.number
        found = self._read(_AROUND, (ranges.ship, ranges.start_us, ranges.end_us, before, after, of, of, of))
        readings = readings_of(found)
        return readings[np.lexsort((readings.moment_us, readings.ship))]

    def stored_slots(self, windows: ShipWindows) -> Slots:
        """See `ReadingStore`."""
        slots = columns_of(Slots, self._read(_STORED, (windows.ship, windows.start_s, windows.end_s, self.number)))
        return slots[np.lexsort((slots.start_s, slots.ship))]

    def stored_readings(self, ship: int, start_us: int, end_us: int, count: int) -> Readings:
        """See `ReadingStore`."""
        return readings_of(self._read(READINGS_OF_SHIP, (self.number, ship, start_us, end_us, count)))

    def stored_deletions(self, ships: Sequence[int]) -> Deletions:
        """See `ReadingStore`."""
        return columns_of(Deletions, self._read(_DELETIONS, (self.number, np.array(ships, np.int64))))

    def stored_covariates(self, ship: int) -> Covariates | None:
        """See `ReadingStore`."""
        return covariates_of(ship, self._read(COVARIATES_OF_SHIP, (self.number, ship)))

    def put_readings(self, readings: Readings, replaced: Readings | None = None) -> None:  # noqa: ARG002  # rows are replaced whole
        """See `ReadingStore`."""
        readings = readings[_last_of_each(readings.ship, readings.moment_us)]
        self._add_ships(readings.ship)
        columns = readings.columns()
        if readings.stated is None:
            self._pending.append((PUT_READINGS, (self.number, *columns[:5])))
        else:
            self._pending.append((_PUT_STATED, (self.number, *columns)))

    def remove_readings(self, ship: int, start_us: int, end_us: int) -> None:
        """See `ReadingStore`."""
        self._pending.append((_REMOVE_READINGS, (self.number, ship, start_us, end_us)))

    def put_deletions(self, deletions: Deletions) -> None:
        """See `ReadingStore`."""
        self._add_ships(deletions.ship)
        self._pending.append((_FORGET_DELETIONS, (self.number, np.unique(deletions.ship))))
        self._pending.append((_PUT_DELETIONS, (self.number, *deletions.columns())))

    def put_covariates(self, covariates: Covariates) -> None:
        """See `ReadingStore`."""
        self._add_ships(np.array([covariates.ship]))
        self._pending.append((_PUT_COVARIATES, (self.number, *covariates)))

    def put_slots(self, slots: Slots, was: Slots) -> None:
        """See `ReadingStore`."""
        self._add_ships(slots.ship)
        gone, there = slots[slots.covered_s == 0], slots[slots.covered_s > 0]
        if len(gone):
            self._pending.append((_TAKE_SLOTS, (gone.ship, gone.start_s, self.number)))
        if len(there):
            self._pending.append((PUT_SLOTS, (self.number, *there.columns())))
        self._pending += roll_ups.statements(self.number, slots, was)

    def _add_ships(self, ship: I64) -> None:
        """Have the store know which partition ships belong to."""
        new = set(ship.tolist()) - self._known_ships
        if not new:
            return
        ships = np.array(sorted(new))
        query, transaction = (_ADD_SHIPS, (self.number, ships, ships, self.number)), self._transaction
        begun = transaction is not None and transaction.has_begun
        rows = transaction.run([query])[-1].fetchall() if transaction and begun else self._writer.rows(*query)
        for other, partition in rows:
            raise InvalidSettings(
                f"ship {other} belongs to partition {partition} of the store, but its readings come in partition"
                f" {self.number}: the number of partitions or the broker's bindings were changed"
            )
        if len(self._known_ships) > MAX_KNOWN_SHIPS:
            self._known_ships.clear()
        self._known_ships |= new

    def pinned(self, name: str, value: str) -> str:
        """See `ReadingStore`."""
        return self._writer.pinned(name, value)

    def tidy(self) -> bool:
        """See `ReadingStore`."""
        return False


def _last_of_each(ship: I64, time_us: I64) -> I64 | slice:
    """Return the rows in the order of ship and time; of those with the same, the last."""
    same_ship = ship[1:] == ship[:-1]
    if ((ship[1:] > ship[:-1]) | (same_ship & (time_us[1:] > time_us[:-1]))).all():
        return slice(None)
    order = np.lexsort((time_us, ship))  # stable
    found: I64 = order[np.append(starts(ship[order], time_us[order])[1:], [True])]
    return found
