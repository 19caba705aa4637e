"""Watches the accuracy of forecasts: those of the last days, each made from what came before the day, and what came.

A day's forecast is kept, so that each further day costs one forecast.
"""

import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

from query_api.forecast.accuracy import DAYS, Accuracies, Expected, WatchedDay
from query_api.forecast.fit import Model
from query_api.forecast.forecast import fitted, steps_of, total_of
from query_api.forecast.service import HISTORY_S, SlotReader, table_of, taken
from query_api.forecast.steps import DAY_S
from shared.domain.covariates import Table
from shared.domain.errors import InvalidInput
from shared.domain.slots import Slots, Window

LEAST_COVER = 0.9
"""A day counts if so much of it is known; the rest is taken to be alike."""
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
        with taken(self._turns, PATIENCE_S):
            yield

    def learn(self, ship: int, days: Iterable[WatchedDay]) -> None:
        """Take over forecasts that were made before."""
        for day in days:
            self._keep(ship, day.start_s, day.expected)

    def days(self, ship: int, end_s: int) -> Generator[list[WatchedDay], None, None]:
        """Return the last days before `end_s`, UTC, that are known and have a day of history; one more in each item.

        Raises:
            Unavailable: the store does not answer.

        """
        end_s -= end_s % DAY_S
        first_s = max(end_s - DAYS * DAY_S, 0)
        came = list(_known(self._store.slots(ship, Window(first_s, end_s))))
        history = self._history(ship, [start_s for start_s, _ in came])
        covariates = None if history is None else table_of(self._store.covariates(ship))
        found = list[WatchedDay]()
        yield found
        for start_s, kwh in came:
            expected = self._find(ship, start_s) or self._made(ship, history, start_s, covariates)
            if expected is not None:
                found.append(WatchedDay(start_s, kwh, expected))
                yield found

    def _history(self, ship: int, starts_s: list[int]) -> Slots | None:
        """Return the slots before days that are not cached; None if all are."""
        new_s = [start_s for start_s in starts_s if self._find(ship, start_s) is None]
        return self._store.slots(ship, Window(max(new_s[0] - HISTORY_S, 0), new_s[-1])) if new_s else None

    def _made(self, ship: int, history: Slots | None, start_s: int, covariates: Table | None) -> Expected | None:
        if history is None:
            return None
        known = history[(history.start_s >= start_s - HISTORY_S) & (history.start_s < start_s)]
        end_s = start_s + DAY_S
        try:
            cut, fit = fitted(self._model, known, start_s, end_s, covariates)
        except InvalidInput:
            return None
        kwh, lower, upper, _ = total_of(cut, fit, steps_of(cut, start_s, end_s))
        return self._keep(ship, start_s, Expected(kwh, lower, upper))

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
