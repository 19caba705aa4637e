"""How good the forecasts of past days were: of a ship, and of the fleet."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from query_api.forecast.steps import DAY_S
from shared.domain.columns import F64

DAYS = 30
OLDEST_S = 3 * DAY_S
"""Days that ended longer ago than this are not the last ones any more."""


class Expected(NamedTuple):
    """What a day was expected to use, in kWh."""

    kwh: float
    lower: float
    upper: float


class WatchedDay(NamedTuple):
    """A day, what was expected of it, and what it used, in kWh."""

    start_s: int
    kwh: float
    expected: Expected


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Sums over days, of one ship or of several.

    Attributes:
        days: how many there are.
        inside: how many of them lay in their interval.
        kwh: the absolute energy of each day, added up.
        off_kwh: the absolute error of each day, added up.

    """

    days: int
    inside: int
    kwh: float
    off_kwh: float

    @property
    def wape(self) -> float | None:
        """The sum of absolute errors over the sum of the energy; None if there is no energy."""
        return self.off_kwh / self.kwh if self.kwh else None

    @property
    def coverage(self) -> float | None:
        """The share of days that lay in their interval; None if there are no days."""
        return self.inside / self.days if self.days else None


def accuracy_of(days: Iterable[WatchedDay]) -> Accuracy:
    """Return the sums over days."""
    sums = [
        (day.expected.lower <= day.kwh <= day.expected.upper, abs(day.kwh), abs(day.kwh - day.expected.kwh))
        for day in days
    ]
    inside, kwh, off_kwh = zip(*sums, strict=True) if sums else ((), (), ())
    return Accuracy(len(sums), sum(inside), sum(kwh), sum(off_kwh))


def days_from(rows: Iterable[tuple[int, float, tuple[float, float, float]]]) -> list[WatchedDay]:
    """Return the days that rows hold, such as JSON makes of days."""
    return [WatchedDay(start_s, kwh, Expected(*expected)) for start_s, kwh, expected in rows]


@dataclass(frozen=True, slots=True, eq=False)
class _Ship:
    """The days before `end_s`, oldest first: start, kWh, expected kWh, lower, upper. float64[n, 5]."""

    end_s: int
    days: F64
    accuracy: Accuracy


class Accuracies:
    """What was found of each ship's last days; written by one thread, read by any. A ship takes some 2 KB."""

    def __init__(self) -> None:
        """Start with none."""
        self._ships: dict[int, _Ship] = {}

    def put(self, ship: int, end_s: int, days: list[WatchedDay]) -> None:
        """Replace what was found of a ship by its days before `end_s`."""
        rows = np.array([(day.start_s, day.kwh, *day.expected) for day in days]).reshape(-1, 5)
        self._ships[ship] = _Ship(end_s, rows, accuracy_of(days))

    def keep_only(self, ships: set[int]) -> None:
        """Forget all other ships."""
        self._ships = {ship: found for ship, found in self._ships.items() if ship in ships}

    def is_found(self, ship: int, end_s: int) -> bool:
        """Return whether a ship's days before `end_s` were put."""
        found = self._ships.get(ship)
        return found is not None and found.end_s == end_s

    def days(self, ship: int) -> list[WatchedDay]:
        """Return what was found of a ship's days."""
        found = self._ships.get(ship)
        rows = [] if found is None else found.days.tolist()
        return [WatchedDay(int(start_s), kwh, Expected(*expected)) for start_s, kwh, *expected in rows]

    def expected(self, ship: int, start_s: int) -> Expected | None:
        """Return what a day was expected to use; None if that was not found."""
        found = self._ships.get(ship)
        if found is None:
            return None
        (at,) = np.nonzero(found.days[:, 0] == start_s)
        return Expected(*found.days[at[0], 2:].tolist()) if len(at) else None

    def of_ship(self, ship: int, now_s: float) -> Accuracy | None:
        """Return how good the forecasts of a ship's last days were; None if that is not known."""
        found = self._ships.get(ship)
        return found.accuracy if found is not None and _counts(found, now_s) else None

    def of_fleet(self, now_s: float) -> tuple[int, Accuracy]:
        """Return of how many ships that is known, and the sums over them."""
        found = [each.accuracy for each in list(self._ships.values()) if _counts(each, now_s)]
        sums = Accuracy(
            sum(each.days for each in found),
            sum(each.inside for each in found),
            sum(each.kwh for each in found),
            sum(each.off_kwh for each in found),
        )
        return len(found), sums


def _counts(found: _Ship, now_s: float) -> bool:
    return found.accuracy.days > 0 and found.end_s > now_s - OLDEST_S
