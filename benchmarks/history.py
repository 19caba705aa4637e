"""The time to store one reading of a ship, with ten readings in its history and with a million."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
from tqdm import tqdm

from benchmarks.load import START_S, STEP_S
from benchmarks.rounds import Options, in_turn, milliseconds
from benchmarks.table import Row
from normalizer_worker.recorder import Recorder
from normalizer_worker.rule.normalize import normalize
from shared.domain.columns import I64
from shared.domain.readings import Readings
from shared.domain.slots import DEFAULT_MAX_GAP_US
from shared.domain.timestamps import US_PER_S
from shared.store.port import ReadingStore

WANTED_RATIO = 1.5
FEW = 10
PART = 50_000
WORKER_CACHE_KIB = 65_536


@dataclass(slots=True)
class _Ship:
    """A ship with readings every five minutes, and their number."""

    number: int
    count: int

    def next(self) -> Readings:
        """Return the next reading."""
        self.count += 1
        return self.at(np.array([self.count - 1]) * STEP_S)

    def late(self) -> Readings:
        """Return a reading between two stored ones, at a random place away from the ends."""
        return self.at(np.array([random.randint(FEW // 2, self.count - FEW // 2) * STEP_S - STEP_S // 2]))

    def at(self, since_s: I64) -> Readings:
        """Return readings at these seconds after the start."""
        n = len(since_s)
        value = np.random.default_rng().uniform(0, 3000, n).round(1)
        moment_us = (START_S + since_s) * US_PER_S
        return Readings(np.full(n, self.number), moment_us, value, np.zeros(n, np.int8), np.zeros(n, np.int64))


Case = Callable[[ReadingStore, _Ship], float]


def measure(options: Options) -> list[Row]:
    """Measure milliseconds per batch of one reading, each in a transaction of its own, on a real disk."""
    cases: dict[str, Case] = {
        "in order, neighbours in the cache": _cached,
        "in order, nothing in the cache": lambda store, ship: _recorded_ms(store, ship.next()),
        "late, between two others": lambda store, ship: _recorded_ms(store, ship.late()),
    }
    many, rounds = options.size(1_000_000, 100_000), options.size(200, 50)
    store = options.new_place().open_store(cache_kib=WORKER_CACHE_KIB)
    large = _Ship(0, many)
    # A new ship for every round, so that its history stays small.
    small = [_Ship(number, FEW) for number in range(1, len(cases) * (rounds + 1) + 1)]
    _fill(store, [large, *small])
    rows = [_compared(store, what, case, large, small[i :: len(cases)]) for i, (what, case) in enumerate(cases.items())]
    store.close()
    return rows


def _compared(store: ReadingStore, what: str, case: Case, large: _Ship, small: list[_Ship]) -> Row:
    had, ships = round(large.count, -3), iter(small)
    few_ms, many_ms = in_turn(len(small) - 1, lambda: case(store, next(ships)), lambda: case(store, large))
    few, many = median(few_ms), median(many_ms)
    return Row(
        f"one reading, {what}, {had:,} in its ship's history",
        f"{many:.2f} ms",
        f"{FEW} in its ship's history: {few:.2f} ms",
        many / few,
        f"{WANTED_RATIO}x",
        holds=many <= WANTED_RATIO * few,
        samples={"ms": many_ms, "small history ms": few_ms},
    )


def _cached(store: ReadingStore, ship: _Ship) -> float:
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    recorder.record(ship.next())
    reading = ship.next()
    return milliseconds(lambda: recorder.record(reading))


def _recorded_ms(store: ReadingStore, reading: Readings) -> float:
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    return milliseconds(lambda: recorder.record(reading))


def _fill(store: ReadingStore, ships: list[_Ship]) -> None:
    """Write histories directly to the store: the same readings and slots as the worker."""
    readings = Readings.concat([ship.at(np.arange(ship.count) * STEP_S) for ship in ships])
    slots = normalize(readings)
    for first in tqdm(range(0, len(readings), PART), desc="storing histories", unit="part", leave=False):
        with store.transaction():
            store.put_readings(readings[first : first + PART])
            part = slots[first : first + PART]  # fewer than readings, so the last parts are empty
            store.put_slots(part, part.emptied())
