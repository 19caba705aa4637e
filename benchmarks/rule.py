"""The normalisation rule alone; baseline: a simple resampling with pandas."""

import time
from statistics import median

import numpy as np
import pandas as pd

from benchmarks.load import START_S, STEP_S, offset_s
from benchmarks.rounds import Options, in_turn
from benchmarks.table import Row
from normalizer_worker.rule.normalize import normalize
from shared.domain.readings import Readings
from shared.domain.timestamps import US_PER_S

WANTED_PER_S = 5e6
WANTED_RATIO = 50


def measure(options: Options) -> list[Row]:
    """Measure readings per second."""
    ships, each, in_pandas = options.size(1000, 200), options.size(1000, 1000), options.size(50, 10)
    readings = _readings(ships, each)
    series = _series(readings[: in_pandas * each], each)

    def rule() -> float:
        began_s = time.perf_counter()
        normalize(readings)
        return len(readings) / (time.perf_counter() - began_s)

    def pandas() -> float:
        began_s = time.perf_counter()
        for ship in series:
            ship.resample("1s").ffill().resample("15min").sum() / 3600
        return in_pandas * each / (time.perf_counter() - began_s)

    ours, theirs = in_turn(options.size(7, 3), rule, pandas)
    rate, baseline = median(ours), median(theirs)
    return [
        Row(
            f"the rule alone, {ships:,} ships x {each:,} readings",
            f"{rate / 1e6:.1f} million readings/s",
            f"pandas, resampling each ship to seconds, then to slots ({in_pandas} ships): {baseline:,.0f} readings/s",
            rate / baseline,
            "5 million readings/s, 50x",
            holds=rate >= WANTED_PER_S and rate >= WANTED_RATIO * baseline,
            samples={"readings/s": ours, "pandas readings/s": theirs},
        )
    ]


def _readings(ships: int, each: int) -> Readings:
    """Return power readings, sorted by ship and time."""
    ship = np.repeat(np.arange(ships), each)
    moment_s = START_S + np.tile(np.arange(each) * STEP_S, ships) + offset_s(ship)
    n = len(ship)
    value = np.random.default_rng(1).uniform(0, 3000, n).round(1)
    return Readings(ship, moment_s * US_PER_S, value, np.zeros(n, np.int8), np.zeros(n, np.int64))


def _series(readings: Readings, each: int) -> list["pd.Series[float]"]:
    moments = pd.to_datetime(readings.moment_us, unit="us")
    starts = range(0, len(readings), each)
    return [pd.Series(readings.value[i : i + each], index=moments[i : i + each]) for i in starts]
