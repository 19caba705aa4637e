"""Watches the accuracy of forecasts: those of the last days, each made from what came before the day, and what came.

A day's forecast is kept, so that each further day costs one forecast.
"""

import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

from query_api.forecast.accuracy import DAYS, Accuracies, Expected, WatchedDay
from query_api.forecast.fit import Fit, Model
from query_api.forecast.forecast import as_of, fitted, steps_of, total_of
from query_api.forecast.history import History
from query_api.forecast.service import HISTORY_S, SlotReader, table_of, turn_at
from query_api.forecast.steps import DAY_S
from shared.domain.errors import InvalidInput
from shared.domain.slots import Slots, Window

LEAST_COVER = 0.9
"""A day counts if so much of it is known; the rest is taken to be alike."""
GROWN_S = 60 * DAY_S
"""With so much history, a day's forecast is near to what a fit of a month later says of it."""
CACHE_SIZE = 10_000
AT_ONCE = 2
PATIENCE_S = 20.0


class Watch:
    """The forecasts of past days, by a model; thread-safe."""

    def __init__(self, store: SlotReader, model: Model, found: Accuracies | None = None) -> None:
        """Start with an empty cache; `found` are days that need not be forecast again."""
        self._store, self._model, self._kept = store, model, found or Accuracies()
        self._cache: dict[tuple[int, int], Expected] = {}
        self._lock, self._turns = threading.Lock(), threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Take a turn, in which `days` may be called; raises `Busy` if there are too many queries."""
        with turn_at(self._turns, PATIENCE_S):
            yield

    def learn(self, ship: int, days: Iterable[WatchedDay]) -> None:
        """Take over forecasts that were made before."""
        for day in days:
            self._keep(ship, day.start_s, day.expected)

    def days(self, ship: int, end_s: int) -> Generator[list[WatchedDay], None, None]:
        """Return the last days before `end_s`, UTC, that are known and have a day of history: those of the last item.

        Raises:
            Unavailable: the store does not answer.

        """
        end_s -= end_s % DAY_S
        first_s = max(end_s - DAYS * DAY_S, 0)
        came = list(_known(self._store.slots(ship, Window(first_s, end_s))))
        expected = {start_s: self._find(ship, start_s) for start_s, _ in came}
        for start_s, made in self._made(ship, [start_s for start_s, found in expected.items() if found is None]):
            expected[start_s] = self._keep(ship, start_s, made)
            yield []
        days = [(start_s, kwh, expected[start_s]) for start_s, kwh in came]
        yield [WatchedDay(start_s, kwh, found) for start_s, kwh, found in days if found is not None]

    def _made(self, ship: int, starts_s: list[int]) -> Iterator[tuple[int, Expected]]:
        """Forecast days, the last one first; those with less than a day of history are left out."""
        if not starts_s:
            return
        slots = self._store.slots(ship, Window(max(starts_s[0] - HISTORY_S, 0), starts_s[-1]))
        covariates = table_of(self._store.covariates(ship))
        grown_s = int(slots.start_s[0]) + GROWN_S if len(slots) else 0
        last: tuple[History, Fit] | None = None
        for start_s in reversed(starts_s):
            then = as_of(*last, start_s) if last and start_s >= grown_s else None
            if then is None:
                known = slots[(slots.start_s >= start_s - HISTORY_S) & (slots.start_s < start_s)]
                try:
                    last = then = fitted(self._model, known, start_s, start_s + DAY_S, covariates)
                except InvalidInput:
                    return
            kwh, lower, upper, _ = total_of(*then, steps_of(then[0], start_s, start_s + DAY_S))
            yield start_s, Expected(kwh, lower, upper)

    def _keep(self, ship: int, start_s: int, expected: Expected) -> Expected:
        with self._lock:
            self._cache[ship, start_s] = expected
            if len(self._cache) > CACHE_SIZE:
                del self._cache[next(iter(self._cache))]
        return expected

    def _find(self, ship: int, start_s: int) -> Expected | None:
        with self._lock:
            cached = self._cache.get((ship, start_s))
        return cached or self._kept.expected(ship, start_s)


def _known(slots: Slots) -> Iterator[tuple[int, float]]:
    """Yield the start of each day that is known, and its energy."""
    days_s = slots.start_s - slots.start_s % DAY_S
    for start_s in sorted(set(days_s.tolist())):
        day = slots[days_s == start_s]
        share = float(day.covered_s.sum()) / DAY_S
        if share >= LEAST_COVER:
            yield start_s, float(day.kwh.sum()) / min(share, 1.0)
