"""Computes forecasts of the fleet and of groups of ships from a store, and caches them."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from query_api.forecast.fit import Model
from query_api.forecast.series import Series
from query_api.forecast.service import table_of, turn_at
from query_api.forecast.steps import DAY_S
from query_api.forecast.together import Part, Sum, Together, part_of, together
from shared.domain.covariates import Covariates
from shared.domain.errors import InvalidInput, Problem
from shared.domain.slots import Slots, Window
from shared.domain.timestamps import US_PER_S, iso
from shared.store.port import FleetSlots, ShipEnergy

ACTIVE_S = 28 * DAY_S
"""A ship without a slot for so long is not expected to use anything."""
HISTORY_S = 366 * DAY_S
MAX_SHIPS = 100
SHIP_DAYS = 280
"""Each of so many ships has a forecast of its own, times the days of the window; the others have one together."""
ALL = 100_000
MAX_AGE_S = 900.0
CACHE_SIZE = 32
AT_ONCE = 2
PATIENCE_S = 20.0

Key = tuple[tuple[int, ...] | None, int, int, tuple[float, ...]]


class FleetReader(Protocol):
    """The part of `EnergyReader` that these forecasts use."""

    def slots(self, ship: int, window: Window) -> Slots:
        """See `EnergyReader`."""
        ...

    def fleet(self, window: Window) -> FleetSlots:
        """See `EnergyReader`."""
        ...

    def top_ships(self, window: Window, count: int) -> list[ShipEnergy]:
        """See `EnergyReader`."""
        ...

    def covariates(self, ship: int) -> Covariates | None:
        """See `EnergyReader`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FleetForecast:
    """A forecast, and which ships of the group are not in it: they were silent for long, or have too little history."""

    found: Together
    left_out: tuple[int, ...]


class FleetForecasts:
    """Forecasts of the fleet and of groups; thread-safe. A cached one is used for up to `MAX_AGE_S`."""

    def __init__(self, store: FleetReader, model: Model, *, now_s: Callable[[], float] = time.monotonic) -> None:
        """Start with an empty cache."""
        self._store, self._model, self._now_s = store, model, now_s
        self._cache: dict[Key, tuple[float, FleetForecast]] = {}
        self._lock, self._turns = threading.Lock(), threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take a turn, in which `pieces` may be called; raises `Busy` if there are too many queries."""
        with turn_at(self._turns, PATIENCE_S):
            yield

    def pieces(self, key: Key) -> Generator[FleetForecast | None, None, None]:
        """Forecast ship by ship; the last item is the forecast of all.

        The key is the ships (None: the fleet), the window's start and end, and the quantiles.

        Raises:
            InvalidInput: nothing is known of the ships in the last four weeks, or less than a day.
            Unavailable: the store does not answer.

        """
        found = self.find(key)  # an equal query may have been answered since
        if found is None:
            made_s = self._now_s()
            found = yield from self._made(*key)
            self._put(key, made_s, found)
        yield found

    def find(self, key: Key) -> FleetForecast | None:
        """Return a cached forecast."""
        with self._lock:
            made_s, found = self._cache.get(key, (0.0, None))
        return None if found is None or self._now_s() - made_s > MAX_AGE_S else found

    def _put(self, key: Key, made_s: float, found: FleetForecast) -> None:
        with self._lock:
            self._cache.pop(key, None)  # so that it becomes the newest
            self._cache[key] = made_s, found
            if len(self._cache) > CACHE_SIZE:
                del self._cache[next(iter(self._cache))]

    def _made(
        self, ships: tuple[int, ...] | None, start_s: int, end_s: int, quantiles: tuple[float, ...]
    ) -> Generator[None, None, FleetForecast]:
        window = Window(max(start_s - HISTORY_S, 0), start_s)
        whole, others, parts = Series(window), Series(window), Sum(start_s, end_s)
        if ships is None:
            fleet = self._store.fleet(window)
            whole.add(fleet)
            others.add(fleet)
        single = _single(end_s - start_s)
        active = self._active(ships, start_s, single)
        left_out = set(ships or ()) - set(active)
        for at, ship in enumerate(active):
            slots = self._store.slots(ship, window)
            part = self._part(slots, start_s, end_s, ship) if at < single else None
            if ships is not None:
                if part is None and at < single:
                    left_out.add(ship)
                    continue
                whole.add(slots)
                others.add(slots)
            if part is not None:
                parts.add(ship, part)
                others.add(slots, -1)
            yield
        part = self._part(others.slots(), start_s, end_s, None)
        if part is not None:
            parts.add(None, part)
        yield
        if not len(parts):
            raise _nothing_known(start_s)
        found = together(self._model, whole.slots(), parts, quantiles)
        return FleetForecast(found, tuple(sorted(left_out)))

    def _active(self, ships: tuple[int, ...] | None, start_s: int, single: int) -> list[int]:
        """Return the ships with slots of late, those that used most first; of the fleet, `single` of them."""
        recent = Window(max(start_s - ACTIVE_S, 0), start_s)
        found = [each.ship for each in self._store.top_ships(recent, ALL if ships else single)]
        return [ship for ship in found if ship in ships] if ships else found

    def _part(self, slots: Slots, start_s: int, end_s: int, ship: int | None) -> Part | None:
        """Forecast one series, of a ship or of several; None if there is too little of it, or nothing of late."""
        if not len(slots) or slots.start_s[-1] < start_s - ACTIVE_S:
            return None
        covariates = None if ship is None else table_of(self._store.covariates(ship))
        try:
            return part_of(self._model, slots, start_s, end_s, covariates)
        except InvalidInput:
            return None


def _single(length_s: int) -> int:
    """Return how many ships have a forecast of their own in a window of this length."""
    return min(SHIP_DAYS // max(-(-length_s // DAY_S), 1), MAX_SHIPS)


def _nothing_known(start_s: int) -> InvalidInput:
    days, start = ACTIVE_S // DAY_S, iso(start_s * US_PER_S)
    why = f"no ship has a day of history and any of it in the {days} days before {start}"
    return InvalidInput("there is too little history", (Problem("start", why),))
