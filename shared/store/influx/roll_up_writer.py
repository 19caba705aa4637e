"""The worker's half of the sums in InfluxDB: makes them, remembers them, and repairs those that are out of date.

What they are, and when one counts, `roll_ups.py` tells.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from shared.domain.errors import Refused
from shared.domain.readings import Readings
from shared.domain.slots import Slots
from shared.domain.timestamps import US_PER_S
from shared.store.influx import roll_ups
from shared.store.influx.roll_ups import (
    DAY_S,
    KINDS,
    MONTH_S,
    PINNED_S,
    SHIP_DAYS,
    SHIPS,
    Key,
    Sum,
    reaches,
    read,
    sums,
)
from shared.store.influx.server import NS_PER_S, Server

REMEMBERED = 100_000
"""How many sums are remembered, each of some 300 bytes."""
SHIPS_AT_ONCE = 5
"""How many ships' sums are made at a time: each takes some milliseconds for a year."""


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
        """Forget everything: a transaction was broken off."""
        self._sums.clear()
        self._stale = None

    def trim(self) -> None:
        """Forget some, if that is too much; not while slots are being written."""
        if len(self._sums) > REMEMBERED:
            self._sums.clear()

    def widen(self, readings: Readings) -> None:
        """Have ships' sums reach over readings, after their slots: mostly these reach over them already.

        A worker that dies before it gets its batches again, and then reads these readings. `repair` does it for sums
        that are stale.
        """
        changes = reaches(readings)
        self._learn(changes)
        wider = {
            key: self._sums[key].plus(change)
            for key, change in changes.items()
            if key not in self._found_stale() and self._is_felt(key, change)
        }
        mark = _new_mark()
        self._write(_line(key, each, mark, f"mark={mark}i,") for key, each in wider.items())
        self._sums |= wider

    def mark(self, slots: Slots, was: Slots) -> Pending:
        """Mark the sums that slots belong to, before these are written."""
        changes: dict[Key, Sum] = {}
        for kind in KINDS:
            for part in (sums(kind, slots), sums(kind, was, -1)):
                for key, change in part.items():
                    changes[key] = changes.get(key, Sum()).plus(change)
        self._learn(changes)
        changes = {key: change for key, change in changes.items() if self._is_felt(key, change)}
        mark = _new_mark()
        self._mark(changes, mark)
        return Pending(changes, mark)

    def _is_felt(self, key: Key, change: Sum) -> bool:
        """Tell whether a sum has to be written anew: of a ship so little is kept that it mostly stays as it is."""
        if key.kind is not SHIPS or key not in self._sums:
            return True
        before = self._sums[key]
        return bool(change.whole) or change.first_s < before.first_s or change.last_s > before.last_s

    def _mark(self, keys: Iterable[Key], mark: int) -> None:
        self._write(f"{_series(key)} mark={mark}i,clean=0i {key.time_s * NS_PER_S}" for key in keys)

    def make(self, pending: Pending) -> None:
        """Write the sums, after their slots."""
        stale = self._stale or {}
        made = {key: self._sums[key].plus(change) for key, change in pending.changes.items() if key not in stale}
        self._write(_line(key, each, pending.mark) for key, each in made.items())
        self._sums |= made

    def repair(self) -> bool:
        """Make some sums anew that are out of date; tell whether more are."""
        stale = self._found_stale()
        if not stale:
            return False
        some = _together(stale)
        marks = self._marks(some)
        made = _made(self._server, some)
        for mark in set(marks.values()):
            keys = (key for key in some if marks.get(key) == mark)
            self._write(_line(key, made.get(key, Sum()), mark) for key in keys)
        for key in some:
            self._sums[key] = made.get(key, Sum())
            del stale[key]
        return bool(stale)

    def _marks(self, keys: Sequence[Key]) -> dict[Key, int]:
        """Read the marks of sums; a ship's that an earlier version did not make gets one."""
        marks = {key: mark for key, _, mark, _ in read(self._server, keys)}
        new = [key for key in keys if key not in marks and key.kind is SHIPS]
        if new:
            mark = _new_mark()
            self._mark(new, mark)
            marks |= dict.fromkeys(new, mark)
        return marks

    def _write(self, lines: Iterable[str]) -> None:
        """Write what can be written: a day may begin before what the database keeps, and the slots in it not."""
        with suppress(Refused):
            self._server.write(lines)

    def _found_stale(self) -> dict[Key, None]:
        if self._stale is None:
            self._stale = dict.fromkeys(key for kind in KINDS for key in roll_ups.read_stale(self._server, kind))
            with_days, made = (roll_ups.ships_in(self._server, kind.name) for kind in (SHIP_DAYS, SHIPS))
            self._stale |= dict.fromkeys(Key(SHIPS, ship, PINNED_S) for ship in sorted({*with_days} - {*made}))
        return self._stale

    def _learn(self, keys: Iterable[Key]) -> None:
        """Read the sums that are not remembered."""
        stale = self._found_stale()
        unknown = [key for key in keys if key not in self._sums and key not in stale]
        self._sums |= dict.fromkeys(unknown, Sum())
        for key, stored, mark, clean in read(self._server, unknown):
            if mark == clean:
                self._sums[key] = stored
            else:
                stale[key] = None


def _new_mark() -> int:
    return secrets.randbits(53) + 1


def _together(stale: Iterable[Key]) -> list[Key]:
    """Choose some sums that are cheap to make together: a quarter of a day of the fleet, a month of a ship, ships."""
    first = next(iter(stale))
    if first.kind is SHIPS:
        return list(islice((key for key in stale if key.kind is SHIPS), SHIPS_AT_ONCE))
    reach_s = MONTH_S if first.kind.of_ship else DAY_S // 4
    return [key for key in stale if (key[:2] == first[:2] and 0 <= key.time_s - first.time_s < reach_s) or key == first]


def _made(server: Server, keys: Sequence[Key]) -> dict[Key, Sum]:
    kind = keys[0].kind
    if kind is SHIPS:
        totals = roll_ups.of_all_time(server, [key.ship for key in keys])
        return {Key(SHIPS, ship, PINNED_S): each for ship, each in totals.items()}
    return sums(kind, roll_ups.slots_under(server, keys))


def _series(key: Key) -> str:
    return f"{key.kind.name},ship={key.ship}" if key.kind.of_ship else key.kind.name


def _line(key: Key, each: Sum, mark: int, more: str = "") -> str:
    if key.kind is SHIPS:
        fields = f"whole={each.whole}i,first_s={each.first_s}i,last_s={each.last_s}i"
    else:
        fields = (
            f"kwh={each.kwh!r},covered_s={each.covered_us / US_PER_S!r},{key.kind.count}={each.slots}i,"
            f"whole={each.whole}i,provisional={each.provisional}i,estimated_s={each.estimated_us / US_PER_S!r},"
            f'nwh="{each.nwh}"'
        )
    return f"{_series(key)} {more}{fields},clean={mark}i {key.time_s * NS_PER_S}"
