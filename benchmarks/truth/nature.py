"""The rule against nature: a household's minutes, of which a sender tells only some.

What happens between two readings is not known, so nothing is exact here. The table says which kind of reading loses
least for which sender.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.truth.comparing import percent
from normalizer_worker.rule.normalize import normalize
from power_cli.up import ROOT
from shared.domain.columns import F64, I64
from shared.domain.readings import Kind, Readings
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import US_PER_S

HOUSEHOLD = ROOT.parent / "shared" / "data" / "household-minutes.csv"
STAND_IN_MINUTES = 7 * 24 * 60
PER_SLOT = SLOT_S // 60
START_S = 1_704_067_200
EDGE = 8
"""Slots at both ends that are not compared: readings further out would decide them."""
STEPS_MIN = (2, 5, 10, 15, 30)
CHANGE_KW = 0.1
ON_CHANGE = f"a sample at each change by {CHANGE_KW} kW"


class Sender(NamedTuple):
    """What a sender does, and the share of the energy that is misplaced if its readings are of some kind.

    `mean` and `counter` are None where it does not send that.
    """

    name: str
    held: float
    line: float
    mean: float | None = None
    counter: float | None = None


def household() -> tuple[F64, str]:
    """Return the power of each minute, in kW, and where it is from."""
    if HOUSEHOLD.exists():
        return pd.read_csv(HOUSEHOLD)["kw"].to_numpy(np.float64), "a real household, every minute of two days"
    return stand_in(), "a generated household, every minute of seven days"


def stand_in() -> F64:
    """Return minutes of a household that does not exist: a base that wanders, a fridge, and consumers for a while."""
    rng = np.random.default_rng(1)
    minute = np.arange(STAND_IN_MINUTES)
    kw = 0.25 + 0.1 * np.abs(np.convolve(rng.normal(size=len(minute)), np.ones(20) / 5, "same"))
    kw += 0.1 * (minute % 45 < 20)  # noqa: PLR2004  # the fridge
    for start in np.flatnonzero(rng.random(len(minute)) < 1 / 60):
        kw[start : start + rng.integers(2, 60)] += rng.choice([0.4, 1.2, 2.1])
    return kw.round(3)


def senders(kw: F64) -> list[Sender]:
    """Compare the kinds of readings for each sender; what is sent in steps is averaged over all its beginnings."""
    return [*(_in_steps(kw, step) for step in STEPS_MIN), _on_change(kw)]


def _in_steps(kw: F64, step: int) -> Sender:
    total = np.append(0, np.cumsum(kw)) / 60
    found: dict[Kind, list[float]] = {}
    for first in range(step):
        at = np.arange(first, len(kw), step)
        mean_kw = np.diff(total[at], prepend=np.nan) * 60 / step
        for kind, value in (
            (Kind.POWER_KW, kw[at]),
            (Kind.LINE_KW, kw[at]),
            (Kind.MEAN_KW, mean_kw),
            (Kind.COUNTER_KWH, total[at]),
        ):
            skipped = 1 if kind is Kind.MEAN_KW else 0
            found.setdefault(kind, []).append(_misplaced(kw, at[skipped:], value[skipped:], kind))
    return Sender(f"every {step} min", *(fmean(each) for each in found.values()))


def _on_change(kw: F64) -> Sender:
    at = [0]
    for i, value in enumerate(kw.tolist()):
        if abs(value - kw[at[-1]]) > CHANGE_KW or i == len(kw) - 1:
            at.append(i)
    rows = np.array(at)
    return Sender(ON_CHANGE, *(_misplaced(kw, rows, kw[rows], kind) for kind in (Kind.POWER_KW, Kind.LINE_KW)))


def _misplaced(kw: F64, at: I64, value: F64, kind: Kind) -> float:
    """Return the sum of the differences of all slots, as a share of the energy."""
    n, zeros = len(at), np.zeros(len(at), np.int64)
    found = normalize(Readings(zeros, (START_S + at * 60) * US_PER_S, value, np.full(n, kind, np.int8), zeros))
    count = len(kw) // PER_SLOT
    slot = (found.start_s - START_S) // SLOT_S
    kwh = np.zeros(count)
    kwh[slot[slot < count]] = found.kwh[slot < count]
    truth = kw[: count * PER_SLOT].reshape(count, PER_SLOT).sum(axis=1) / 60
    inside = slice(EDGE, -EDGE)
    return float(np.abs(kwh - truth)[inside].sum() / truth[inside].sum())


def cells(found: Sequence[Sender]) -> list[list[str]]:
    """Return the table of the senders."""
    header = ["a household that sends", "sample, held", "sample, line", "mean, end-stamped", "counter"]
    return [header, *([name, *("" if each is None else percent(each) for each in rest)] for name, *rest in found)]
