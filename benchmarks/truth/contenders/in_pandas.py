"""pandas: the mean of each slot, forward fill, and what an expert would write.

Time zones, duplicates and resampling: https://pandas.pydata.org/docs/user_guide/timeseries.html#resampling
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd

from benchmarks.rounds import Options
from benchmarks.truth.contenders import Answer, Method
from benchmarks.truth.scenarios import Scenario
from shared.domain.readings import IS_POWER, LOOKS_BACK, Kind
from shared.domain.slots import SLOT_S

NAMES = ("pandas mean", "pandas forward fill", "pandas, an expert's")
S_PER_HOUR = 3600
LONGEST_S = 24 * S_PER_HOUR
"""The expert bridges no longer gap, like this service."""


@contextmanager
def methods(_: Options) -> Iterator[list[Method]]:
    """Return the methods."""
    yield [mean, forward_fill, expert]


def mean(scenario: Scenario) -> Answer:
    """Take the mean of the power readings in a slot, and the sum of the energy stamped in it."""
    return _simply(scenario, lambda kw: kw.resample("15min").mean(), lambda kwh, *_: kwh.resample("15min").sum())


def forward_fill(scenario: Scenario) -> Answer:
    """Fill power to seconds, and energy, divided by the minutes it is for, to minutes."""
    return _simply(scenario, lambda kw: kw.resample("1s").ffill().resample("15min").mean(), _filled)


def _filled(kwh: "pd.Series[float]", span_s: "pd.Series[int]", kind: Kind) -> "pd.Series[float]":
    minutes = (kwh / (span_s / 60)).resample("1min")
    if LOOKS_BACK[kind]:
        return minutes.bfill().resample("15min", closed="right", label="left").sum()
    return minutes.ffill().resample("15min").sum()


def _simply(
    scenario: Scenario,
    of_power: Callable[["pd.Series[float]"], "pd.Series[float]"],
    of_energy: Callable[["pd.Series[float]", "pd.Series[int]", Kind], "pd.Series[float]"],
) -> Answer:
    """Treat each kind on its own, as a user who has a series of each; of duplicates the last to arrive counts."""
    readings, parts = _frame(scenario), []
    readings = readings[~readings.index.duplicated(keep="last")].sort_index()
    for kind in map(Kind, readings["kind"].unique().tolist()):
        own = readings[readings["kind"] == kind]
        if kind == Kind.COUNTER_KWH:
            parts.append(own["value"].resample("15min").last().ffill().diff().clip(lower=0))
        elif IS_POWER[kind]:
            parts.append(of_power(own["value"]) * SLOT_S / S_PER_HOUR)
        else:
            parts.append(of_energy(own["value"], own["span_s"], kind))
    total = pd.concat(parts).dropna().groupby(level=0).sum()
    return Answer(dict(zip((total.index.astype("int64") // 10**9).tolist(), total.tolist(), strict=True)))


def expert(scenario: Scenario) -> Answer:
    """Turn each reading into power over the time it is about, and integrate that between the slots' edges."""
    readings = _frame(scenario).sort_values("sent_s", kind="stable")
    readings = readings[~readings.index.duplicated(keep="last")].sort_index()
    edges_s = np.arange(scenario.load.start_s, scenario.load.end_s + 1, SLOT_S)
    if (readings["kind"] == Kind.LINE_KW).all():
        moments = readings.index.union(pd.to_datetime(edges_s, unit="s"))
        readings = readings.reindex(moments).interpolate("time")
    at_s = readings.index.to_numpy("datetime64[s]").astype(np.int64)
    kind, value, span_s = (readings[name].to_numpy() for name in ("kind", "value", "span_s"))
    following, before_s = np.append(value[1:], np.nan), np.append(at_s[:1], at_s[:-1])
    until_s = np.append(at_s[1:], at_s[-1] + span_s[-1])
    start_s = np.where(kind == Kind.END_KWH, np.where(span_s > 0, at_s - span_s, before_s), at_s)
    ahead_s = np.where(span_s > 0, np.minimum(at_s + span_s, until_s), until_s)
    end_s = np.where(kind == Kind.END_KWH, at_s, ahead_s)
    hours = (end_s - start_s) / S_PER_HOUR
    energy = np.where(kind == Kind.COUNTER_KWH, following - value, value)
    energy = np.where(kind == Kind.POWER_KW, value * hours, energy)
    energy = np.where(kind == Kind.LINE_KW, (value + following) / 2 * hours, energy)
    good = (hours > 0) & (energy >= 0) & (hours * S_PER_HOUR <= LONGEST_S)
    start_s, end_s, energy = start_s[good], end_s[good], energy[good]
    total = np.append(0, np.cumsum(energy))
    corners_s, corners_kwh = np.stack([start_s, end_s], 1).ravel(), np.stack([total[:-1], total[1:]], 1).ravel()
    kwh = np.diff(np.interp(edges_s, corners_s, corners_kwh))
    return Answer(dict(zip(edges_s[:-1].tolist(), kwh.tolist(), strict=True)))


def _frame(scenario: Scenario) -> pd.DataFrame:
    """Return the readings in the order of arrival, by their moments."""
    frame = pd.DataFrame(scenario.sent, columns=["moment_s", "value", "kind", "sent_s", "span_s"])
    frame["kind"] = frame["kind"].astype(int)
    return frame.set_index(pd.to_datetime(frame.pop("moment_s"), unit="s").dt.as_unit("ns"))
