"""What is kept of forecasts: new slots count at once, old corrections soon; few are made at a time."""

import threading
from dataclasses import dataclass, field

import numpy as np
import pytest

from query_api.forecast import service
from query_api.forecast.fit import Fit
from query_api.forecast.history import History
from query_api.forecast.models.seasonal_naive import SeasonalNaive
from query_api.forecast.service import HISTORY_S, MAX_AGE_S, WAITING, Forecasts
from shared.domain.covariates import Covariates
from shared.domain.errors import Busy, InvalidInput
from shared.domain.slots import SLOT_S, Slots, Window
from tests.support.slots import DAY, MONDAY_S, slots_from
from tests.support.waiting import until

DAYS = 20
CACHE_SIZE = 5
END_S = MONDAY_S + DAYS * DAY * SLOT_S


@dataclass
class MemoryReader:
    """A store of one ship, that notes what it was asked."""

    kept: Slots = field(default_factory=lambda: slots_from(np.ones(DAYS * DAY)))
    asked: list[Window] = field(default_factory=list)

    def slots(self, ship: int, window: Window) -> Slots:  # noqa: ARG002  # there is one
        self.asked.append(window)
        assert window.start_s is not None
        assert window.end_s is not None
        return self.kept[(self.kept.start_s >= window.start_s) & (self.kept.start_s < window.end_s)]

    def covariates(self, ship: int) -> Covariates | None:  # noqa: ARG002  # it has none
        return None


class Counting(SeasonalNaive):
    """Counts its fits, and does not end one while it is held."""

    def __init__(self) -> None:
        self.fits = 0
        self.begun = threading.Semaphore(0)
        self.free = threading.Event()
        self.free.set()

    def fit(self, ship: int, history: History, days: list[int]) -> Fit:
        self.fits += 1
        self.begun.release()
        assert self.free.wait(30)
        return super().fit(ship, history, days)


class Asked:
    """Forecasts over a store in memory, by a model that counts, at a time of one's own."""

    def __init__(self, patience_s: float = 30) -> None:
        self.store, self.model, self.at_s = MemoryReader(), Counting(), 0.0
        self.forecasts = Forecasts(
            self.store, {"m": self.model, "other": SeasonalNaive()}, now_s=lambda: self.at_s, patience_s=patience_s
        )

    def total(self, ship: int = 7, start_s: int = END_S) -> float:
        return self.forecasts.forecast("m", ship, start_s, start_s + DAY * SLOT_S).kwh


def test_a_repeated_question_reads_two_days_and_fits_nothing() -> None:
    asked = Asked()
    assert [asked.total() for _ in range(3)] == [96, 96, 96]
    assert asked.model.fits == 1
    recent = Window(END_S - 2 * DAY * SLOT_S, END_S)
    assert asked.store.asked == [Window(END_S - HISTORY_S, END_S), recent, recent]


@pytest.mark.parametrize("column", ["kwh", "covered_s", "provisional"])
def test_a_change_in_the_last_two_days_counts_at_once(column: str) -> None:
    asked = Asked()
    asked.total()
    slots = slots_from(np.ones(DAYS * DAY))
    getattr(slots, column)[-2 * DAY] = 0.5
    asked.store.kept = slots
    asked.total()
    assert asked.model.fits == 2


def test_an_older_change_counts_after_a_minute_at_the_latest() -> None:
    asked = Asked()
    asked.total()
    asked.store.kept = slots_from(np.where(np.arange(DAYS * DAY) < 13 * DAY, 1.0, 2.0))[: 18 * DAY]
    asked.store.kept = Slots.concat([asked.store.kept, slots_from(np.ones(DAYS * DAY))[18 * DAY :]])
    asked.at_s = MAX_AGE_S
    assert asked.total() == 96
    asked.at_s = MAX_AGE_S + 1
    assert asked.total() == 192


def test_windows_ships_and_starts_are_kept_apart_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "CACHE_SIZE", CACHE_SIZE)
    asked = Asked()
    for ship in range(CACHE_SIZE + 1):
        asked.total(ship)
    asked.total(CACHE_SIZE)
    assert asked.model.fits == CACHE_SIZE + 1
    asked.total(0)
    assert asked.model.fits == CACHE_SIZE + 2
    asked.total(0, END_S - SLOT_S)
    assert asked.model.fits == CACHE_SIZE + 3


def test_what_cannot_be_answered_is_not_kept() -> None:
    asked = Asked()
    asked.store.kept = slots_from(np.ones(DAY - 1))
    with pytest.raises(InvalidInput):
        asked.total()
    asked.store.kept = slots_from(np.ones(DAY))
    assert asked.total() == 96


def test_only_two_are_made_at_a_time_and_few_may_wait() -> None:
    asked = Asked()
    asked.model.free.clear()
    found: list[float] = []
    threads = [
        threading.Thread(target=lambda ship=ship: found.append(asked.total(ship)), daemon=True)
        for ship in range(WAITING)
    ]
    for thread in threads:
        thread.start()
    assert asked.model.begun.acquire(timeout=30)
    assert asked.model.begun.acquire(timeout=30)

    def all_wait() -> bool:
        return asked.forecasts._waiting._value == 0

    until(all_wait, "all of them wait")
    with pytest.raises(Busy):
        asked.total(WAITING)
    assert asked.model.fits == 2
    asked.model.free.set()
    for thread in threads:
        thread.join(30)
    assert found == [96] * WAITING
    assert asked.total(WAITING) == 96


def test_nobody_waits_longer_than_his_patience() -> None:
    asked = Asked(patience_s=0)
    asked.model.free.clear()
    threads = [threading.Thread(target=asked.total, args=(ship,), daemon=True) for ship in range(2)]
    for thread in threads:
        thread.start()
    assert asked.model.begun.acquire(timeout=30)
    assert asked.model.begun.acquire(timeout=30)
    with pytest.raises(Busy):
        asked.total(2)
    assert asked.forecasts.forecast("other", 2, END_S, END_S + SLOT_S).kwh == 1  # another model is not held up
    asked.model.free.set()
    for thread in threads:
        thread.join(30)
