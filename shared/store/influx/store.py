"""The store in InfluxDB, for a fleet: one bucket that any Grafana can read. docs/influxdb.md describes what is in it.

This is its writing half; `reader.py` is the other. InfluxDB has no transactions: what is written is durable at once,
readings first, then their slots. What keeps the promise of the port nevertheless stands in
docs/decisions/010-influxdb.md.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np

from shared.domain.columns import rows
from shared.domain.covariates import Covariates
from shared.domain.deletions import Deletions
from shared.domain.errors import InvalidSettings, Refused, Unavailable
from shared.domain.readings import Kind, ReadingRanges, Readings
from shared.domain.slots import ShipWindows, Slots
from shared.store.influx.covariates import put_covariates
from shared.store.influx.deletions import put_deletions
from shared.store.influx.owner import SETTLE_S, Owner
from shared.store.influx.reader import InfluxReader, read_slots
from shared.store.influx.readings import lines, readings_around
from shared.store.influx.roll_up_writer import Pending, RollUps
from shared.store.influx.roll_ups import slots_of
from shared.store.influx.server import NS_PER_S, NS_PER_US, TIMEOUT_S, Account, Server

SHIPS = 500


class InfluxStore(InfluxReader):
    """Both halves of the port; the reading half is safe to use from several threads, the writing half from one."""

    def __init__(  # noqa: PLR0913  # what tests change of it
        self,
        account: Account,
        *,
        connections: int = 8,
        timeout_s: float = TIMEOUT_S,
        settle_s: float = SETTLE_S,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; see `Server` and `Owner`. The server is asked for its version with the first use."""
        super().__init__(Server(account, connections=connections, timeout_s=timeout_s))
        self._owner = Owner(self._server, settle_s=settle_s, now_s=now_s, sleep=sleep)
        self._roll_ups = RollUps(self._server)
        self._pending: list[Pending] = []
        self._met: list[Readings] = []
        """The readings that this transaction has read or written."""

    def close(self) -> None:
        """Say that this worker writes no more, if that can be said, and close the connections."""
        with suppress(Unavailable, InvalidSettings):
            self._owner.release()
        super().close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See `ReadingStore`."""
        try:
            with self._or_forget():
                self._server.set_up()
                self._owner.acquire()
                self._roll_ups.trim()
                yield
                self._owner.keep()
                for pending in self._pending:
                    self._roll_ups.make(pending)
                self._roll_ups.widen(Readings.concat(self._met))
        finally:
            self._pending.clear()
            self._met.clear()

    @contextmanager
    def _or_forget(self) -> Iterator[None]:
        """After an error, forget what is known of the server and of the sums in it."""
        try:
            yield
        except BaseException as error:
            if not isinstance(error, Refused):
                self._server.forget()
            self._roll_ups.forget()
            raise

    stored_readings, stored_deletions = InfluxReader.readings, InfluxReader.deletions
    stored_covariates = InfluxReader.covariates

    def readings_around(self, ranges: ReadingRanges) -> Readings:
        """See `ReadingStore`."""
        found = readings_around(self._server, ranges)
        self._met.append(found)
        return found

    def stored_slots(self, windows: ShipWindows) -> Slots:
        """See `ReadingStore`."""
        parts = (windows[start : start + SHIPS] for start in range(0, len(windows), SHIPS))
        return Slots.concat([slots_of(table) for part in parts for table in read_slots(self._server, part.rows())])

    def put_readings(self, readings: Readings, replaced: Readings | None = None) -> None:
        """See `ReadingStore`."""
        self._owner.keep()
        replaced = readings[:0] if replaced is None else replaced
        if len(replaced):
            unknown = readings[readings.kind == Kind.UNKNOWN]
            known = set(rows(replaced.ship, replaced.moment_us))
            for ship, moment_us in known.intersection(rows(unknown.ship, unknown.moment_us)):
                self.remove_readings(ship, moment_us, moment_us + 1)  # a field that a line lacks would stay
        self._server.write(lines(readings, replaced))
        self._met.append(readings)

    def remove_readings(self, ship: int, start_us: int, end_us: int) -> None:
        """See `ReadingStore`."""
        self._owner.keep()
        self._server.delete("readings", ship, start_us * NS_PER_US, end_us * NS_PER_US)

    def put_deletions(self, deletions: Deletions) -> None:
        """See `ReadingStore`."""
        self._owner.keep()
        put_deletions(self._server, deletions)

    def put_covariates(self, covariates: Covariates) -> None:
        """See `ReadingStore`."""
        self._owner.keep()
        put_covariates(self._server, covariates)

    def put_slots(self, slots: Slots, was: Slots) -> None:
        """See `ReadingStore`."""
        self._owner.keep()
        pending = self._roll_ups.mark(slots, was)
        is_there = slots.covered_s > 0
        kwh, provisional = np.where(is_there, slots.kwh, 0.0), slots.provisional & is_there
        estimated_s = np.where(is_there, slots.estimated_s, 0.0)
        is_told = (estimated_s > 0) | (was.estimated_s > 0)  # a field that a line lacks would stay
        columns = rows(slots.ship, kwh, slots.covered_s, provisional, estimated_s, is_told, slots.start_s * NS_PER_S)
        self._server.write(
            f"energy,ship={ship} kwh={kwh!r},covered_s={covered_s!r},provisional={provisional}"
            f"{f',estimated_s={estimated_s!r}' if is_told else ''} {start_ns}"
            for ship, kwh, covered_s, provisional, estimated_s, is_told, start_ns in columns
        )
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
        with self._or_forget():
            self._server.set_up()
            self._owner.acquire()
            return self._roll_ups.repair()
