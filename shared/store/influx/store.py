"""The store in InfluxDB, for a fleet: one bucket that any Grafana can read. docs/influxdb.md describes what is in it.

This is its writing half; `influx_reader.py` is the other. InfluxDB has no transactions: what is written is durable at
once, readings first, then their slots. What keeps the promise of the port nevertheless stands in
docs/decisions/010-influxdb.md.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from shared.domain.errors import Refused, Unavailable
from shared.domain.readings import Readings
from shared.domain.slots import Slots, Window
from shared.store.influx import neighbours
from shared.store.influx.presence import Presence
from shared.store.influx.reader import InfluxReader, read_slots
from shared.store.influx.requests import Held
from shared.store.influx.roll_up_writer import Pending, RollUps
from shared.store.influx.roll_ups import slots_of
from shared.store.influx.server import NS_PER_S, NS_PER_US, TIMEOUT_S, Account, Server
from shared.store.port import Neighbourhood, Span

SHIPS = 500
LOOK_AGAIN_S = 5
"""How often a worker that is not alone looks whether it is, while nothing arrives."""


class InfluxStore(InfluxReader):
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
        super().__init__(Server(account, connections=connections, timeout_s=timeout_s))
        self._presence = Presence(self._server, now_s)
        self._held = Held(self._server, self._hold)
        self._roll_ups = RollUps(self._held)
        self._is_in_transaction = False
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
        super().close()

    @contextmanager
    def transaction(self) -> Iterator[bool]:
        """See `ReadingStore`."""
        try:
            with self._or_unsure():
                self._server.set_up()
                has_watched = self._presence.begin() and self._alone
                self._roll_ups.trim()
                self._is_known, self._is_in_transaction = False, True
                if not has_watched:
                    self._watch()
                others_wrote, self._forgot = self._forgot, False
                yield others_wrote
                if self.alone():
                    for pending in self._pending:
                        self._roll_ups.make(pending)
        finally:
            self._is_in_transaction = False
            self._pending.clear()

    def _hold(self) -> None:
        if self._is_in_transaction:
            self._presence.hold()

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
            self._hold()
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
        return neighbours.neighbourhoods(self._held, spans)

    def stored_slots(self, windows: Mapping[int, Window]) -> Slots:
        """See `ReadingStore`."""
        ships = sorted(windows)
        tables = [
            table
            for start in range(0, len(ships), SHIPS)
            for table in read_slots(self._held, {ship: windows[ship] for ship in ships[start : start + SHIPS]})
        ]
        return Slots.concat([slots_of(table) for table in tables])

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
        self._held.write(
            f'readings,ship={ship} value={value!r},unit="{unit}",sent_at={sent_at_us}i {time_ns}'
            for ship, value, unit, sent_at_us, time_ns in zip(*(each.tolist() for each in columns), strict=True)
        )

    def put_slots(self, slots: Slots, was: Slots) -> None:
        """See `ReadingStore`."""
        self._is_known = False
        alone = self._alone
        pending = self._roll_ups.mark(slots, was, alone=alone)
        kwh, provisional = np.where(slots.covered_s > 0, slots.kwh, 0.0), slots.provisional & (slots.covered_s > 0)
        columns = (slots.ship, kwh, slots.covered_s, provisional, slots.start_s * NS_PER_S)
        self._held.write(
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
