"""Computes forecasts from a store, a few at a time, and caches them."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from query_api.forecast.fit import Model
from query_api.forecast.forecast import Forecast
from query_api.forecast.forecast import forecast as make_forecast
from query_api.forecast.history import history_of
from query_api.forecast.models.auto import Auto, Standing, contest
from query_api.forecast.steps import DAY_S
from shared.domain.covariates import Covariates, Table
from shared.domain.errors import Busy
from shared.domain.slots import Slots, Window
from shared.runtime.process import return_free_memory

HISTORY_S = 731 * DAY_S
"""Only slots of so long before the window are used."""
RECENT_S = 2 * DAY_S
MAX_AGE_S = 60.0
CACHE_SIZE = 256
AT_ONCE = 2
WAITING = 12
"""How many queries may wait, so that threads are left for other queries."""
PATIENCE_S = 20.0

Key = tuple[str, int, int, int, tuple[float, ...]]


class SlotReader(Protocol):
    """The part of `EnergyReader` that forecasts use."""

    def slots(self, ship: int, window: Window) -> Slots:
        """See `EnergyReader`."""
        ...

    def covariates(self, ship: int) -> Covariates | None:
        """See `EnergyReader`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Cached:
    forecast: Forecast
    recent: Slots
    covariates: int
    """Their hash: they may be large."""
    made_s: float


class Forecasts:
    """Forecasts from a store; thread-safe.

    A cached forecast is used for up to `MAX_AGE_S` if the two days before the window and the covariates have not
    changed: these, new slots and corrections there take effect at once, older corrections after a minute.
    """

    def __init__(
        self,
        store: SlotReader,
        models: Mapping[str, Model],
        *,
        now_s: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Start with an empty cache."""
        self._store, self._models, self._now_s, self._patience_s = store, models, now_s, patience_s
        self._cache: dict[Key, _Cached] = {}
        self._lock = threading.Lock()
        self._turns = {name: threading.BoundedSemaphore(AT_ONCE) for name in models}
        self._contests = threading.BoundedSemaphore(AT_ONCE)
        self._waiting = threading.BoundedSemaphore(WAITING)

    def forecast(self, model: str, ship: int, start_s: int, end_s: int, quantiles: tuple[float, ...] = ()) -> Forecast:
        """Forecast a ship's energy in a window of whole slots, and these quantiles of it.

        Raises:
            InvalidInput: there is less than a day of history, or the model cannot be used.
            Busy: there are too many queries.
            BeingTrained: the model is not trained yet.
            Unavailable: the store does not answer.

        """
        key = model, ship, start_s, end_s, quantiles
        cached = self._find(key)
        if cached is not None:
            return cached
        # Each fit takes a core and some MB. A slow model does not delay the others.
        with _taken(self._waiting, 0), turn_at(self._turns[model], self._patience_s):
            cached = self._find(key)  # an equal query may have been answered since
            if cached is not None:
                return cached
            made_s = self._now_s()
            slots, covariates = self._read(ship, start_s, HISTORY_S)
            made = make_forecast(self._models[model], slots, start_s, end_s, quantiles, table_of(covariates))
            self._put(key, _Cached(made, slots[slots.start_s >= start_s - RECENT_S], hash(covariates), made_s))
        return made

    def contest(self, ship: int, start_s: int) -> tuple[int, list[Standing]]:
        """Return the end of a ship's history before `start_s`, and how its models do.

        Raises:
            InvalidInput: there is less than a day of history.
            Busy: there are too many queries.
            Unavailable: the store does not answer.

        """
        with _taken(self._waiting, 0), turn_at(self._contests, self._patience_s):
            slots, covariates = self._read(ship, start_s, HISTORY_S)
            history = history_of(slots, start_s, table_of(covariates))
            return history.end_s, contest(Auto(), history)

    def _read(self, ship: int, start_s: int, length_s: int) -> tuple[Slots, Covariates | None]:
        """Return a ship's slots of so long before `start_s`, and its covariates."""
        slots = self._store.slots(ship, Window(max(start_s - length_s, 0), start_s))
        return slots, self._store.covariates(ship)

    def _find(self, key: Key) -> Forecast | None:
        with self._lock:
            cached = self._cache.get(key)
        if cached is None or self._now_s() - cached.made_s > MAX_AGE_S:
            return None
        _, ship, start_s, _, _ = key
        now, covariates = self._read(ship, start_s, RECENT_S)
        return cached.forecast if hash(covariates) == cached.covariates and _are_same(now, cached.recent) else None

    def _put(self, key: Key, cached: _Cached) -> None:
        with self._lock:
            self._cache.pop(key, None)  # so that it becomes the newest
            self._cache[key] = cached
            if len(self._cache) > CACHE_SIZE:
                del self._cache[next(iter(self._cache))]


@contextmanager
def turn_at(semaphore: threading.BoundedSemaphore, patience_s: float) -> Iterator[None]:
    """Take a turn for a block that needs much memory for a moment; raises `Busy` if there is none in time."""
    with _taken(semaphore, patience_s):
        try:
            yield
        finally:
            return_free_memory()


@contextmanager
def _taken(semaphore: threading.BoundedSemaphore, patience_s: float) -> Iterator[None]:
    """Take a turn for the block; raises `Busy` if there is none in time."""
    if not semaphore.acquire(timeout=patience_s):
        raise Busy("Too many forecasts are requested at once. Try again in a moment.")
    try:
        yield
    finally:
        semaphore.release()


def table_of(covariates: Covariates | None) -> Table | None:
    """Return the table of stored covariates; None if there are none."""
    return None if covariates is None else covariates.table()


def _are_same(some: Slots, others: Slots) -> bool:
    columns = ("start_s", "kwh", "covered_s", "provisional")
    return all(np.array_equal(getattr(some, name), getattr(others, name)) for name in columns)
