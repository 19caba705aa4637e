"""A ship's slots before a timestamp, on a grid without gaps: missing slots are marked and filled in."""

from dataclasses import dataclass

import numpy as np

from query_api.forecast.steps import DAY, DAY_S, WEEK
from shared.domain.columns import F64, Bools
from shared.domain.covariates import Table
from shared.domain.errors import InvalidInput, Problem
from shared.domain.slots import SLOT_S, Slots
from shared.domain.timestamps import US_PER_S, iso

NEEDED_S = DAY_S
ROUNDING = 1e-9
LEAST_COVER = 0.1
"""Slots with a smaller share covered are not used."""
DOUBT = 4.0
"""How many known slots of a day weigh as much as the assumption that its level is that of the week before."""
SEVERAL_SLOTS = 13
SEVERAL_DAYS = 3
ROOM = 1.5
"""How much farther from the median a slot may lie than several others reach."""
ABSURD = 5.0
"""The same, from which on it is not believed at all."""
PROVISIONAL = 0.5
"""The weight of a provisional slot, which is exact for a ship with a steady cadence and a guess for others."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One ship's energy per slot, n consecutive slots, from the first known one to the last.

    Attributes:
        start_s: the first slot's start, seconds since 1970.
        kwh: energy of the whole slot, extrapolated from its covered part; missing slots are filled in from earlier
            ones (from later ones only before the first week or day is known). float64[n].
        weight: the share of the slot that is covered, 0 to 1, halved where it is provisional. float64[n].
        slots: how many of them are known.
        covariates: those of the ship, also after the history; None if there are none.

    """

    start_s: int
    kwh: F64
    weight: F64
    slots: int
    covariates: Table | None = None

    def __len__(self) -> int:
        """Count the slots of the grid."""
        return len(self.kwh)

    @property
    def end_s(self) -> int:
        """The end of the last slot, from which steps are counted."""
        return self.start_s + len(self) * SLOT_S

    @property
    def spread(self) -> float:
        """The standard deviation of slots in kWh; 0 where it is only rounding."""
        known = self.kwh[self.weight > 0]
        size = float(np.abs(known).max())
        spread = float((known / size).std()) if size else 0.0
        return spread * size if spread > ROUNDING else 0.0

    @property
    def scale(self) -> float:
        """The unit for normalising slots, in kWh, greater than 0: their spread, else their size, else 1."""
        return self.spread or float(np.abs(self.kwh[self.weight > 0]).max()) or 1.0

    def bounds(self) -> tuple[float, float]:
        """Return the limits of a forecast slot: the known range plus half of it each side; 0 if none was negative."""
        known = self.kwh[self.weight > 0]
        low, high = float(known.min()), float(known.max())
        room = high / 2 - low / 2
        return max(low - room, 0.0) if low >= 0 else low - room, high + room

    def before(self, n: int) -> "History":
        """Return the first n slots."""
        slots = int((self.weight[:n] > 0).sum())
        return History(self.start_s, self.kwh[:n], self.weight[:n], slots, self.covariates)


def history_of(slots: Slots, start_s: int, covariates: Table | None = None) -> History:
    """Return one ship's slots before `start_s` as a history, with its covariates of any time.

    Raises:
        InvalidInput: they cover less than a day.

    """
    slots = slots[(slots.start_s < start_s) & (slots.covered_s >= LEAST_COVER * SLOT_S)]
    known_s = float(slots.covered_s.sum())
    if known_s < NEEDED_S - 0.001:
        start = iso(start_s * US_PER_S)
        why = f"a forecast needs 24 hours of history before it, and there are {known_s / 3600:.2f} before {start}"
        raise InvalidInput("there is too little history", (Problem("start", why),))
    first_s, last_s = int(slots.start_s[0]), int(slots.start_s[-1])
    at = (slots.start_s - first_s) // SLOT_S
    n = (last_s - first_s) // SLOT_S + 1
    cover = np.minimum(slots.covered_s / SLOT_S, 1.0)
    kwh, weight = np.full(n, np.nan), np.zeros(n)
    kwh[at] = slots.kwh / cover
    weight[at] = cover * np.where(slots.provisional, PROVISIONAL, 1.0)
    kwh = _credible(kwh)
    weight[np.isnan(kwh)] = 0.0
    end = _end(weight > 0)
    kwh, weight = kwh[:end], weight[:end]
    return History(first_s, _filled(kwh), weight, int((weight > 0).sum()), covariates)


def _end(known: Bools) -> int:
    """Return where the history ends: the last slot with at least half of the day before it known.

    What little is known after a gap of half a day counts less than that the forecast knows how old its data is.
    """
    counts = np.concatenate([np.zeros(1, np.int64), np.cumsum(known)])
    at = np.flatnonzero(known) + 1
    at = at[at >= DAY]
    enough = at[counts[at] - counts[at - DAY] >= DAY // 2]
    return int(enough[-1]) if len(enough) else len(known)


def _credible(kwh: F64) -> F64:
    """Limit slots to half more than what several others reach; far beyond it they are missing.

    So one bad reading moves nothing. Several are three hours of slots, or three days with one such slot: rare peaks
    that come again are no faults.
    """
    middle = float(np.nanmedian(kwh))
    above, below = _reached(kwh) - middle, _reached(-kwh) + middle
    limited = np.clip(kwh, middle - ROOM * below, middle + ROOM * above)
    absurd = (kwh > middle + ABSURD * above) | (kwh < middle - ABSURD * below)
    return np.where(absurd & (above + below > ROUNDING * abs(middle)), np.nan, limited)


def _reached(kwh: F64) -> float:
    """Return the energy that several slots reach."""
    kwh = np.where(np.isnan(kwh), -np.inf, kwh)
    days = np.sort(np.pad(kwh, (-len(kwh) % DAY, 0), constant_values=-np.inf).reshape(-1, DAY).max(axis=1))
    slots = np.sort(kwh[np.isfinite(kwh)])
    few = slots[-min(SEVERAL_SLOTS, len(slots))]
    return float(max(few, days[-SEVERAL_DAYS] if len(days) >= SEVERAL_DAYS else few))


def _filled(kwh: F64) -> F64:
    """Fill missing slots with the week before, shifted by how far the last day differed from its week before.

    Without a week of history it is the day before, and without a day the last slot.
    """
    usual = kwh
    for period in (WEEK, DAY, 1):
        usual = _carried(usual, period)
    if np.isnan(usual[0]):
        usual = _carried(_carried(usual[::-1], DAY), 1)[::-1]
    return np.where(np.isnan(kwh), usual + _moved(kwh, usual), kwh)


def _moved(kwh: F64, usual: F64) -> F64:
    """Return, for each slot, the mean difference of the day before it from the same slots a week earlier.

    The fewer slots of that day are known, the smaller the result is.
    """
    off = kwh - np.concatenate([usual[:WEEK], usual])[: len(usual)]
    known = ~np.isnan(off)
    totals, counts = (
        np.concatenate([np.zeros(1), np.cumsum(each)]) for each in (np.where(known, off, 0.0), known.astype(np.float64))
    )
    at = np.arange(len(kwh))
    before = np.maximum(at - DAY, 0)
    moved: F64 = (totals[at] - totals[before]) / (counts[at] - counts[before] + DOUBT)
    return moved


def _carried(kwh: F64, period: int) -> F64:
    """Replace each NaN by the last number before it at the same position of a period."""
    table = np.pad(kwh, (0, -len(kwh) % period), constant_values=np.nan).reshape(-1, period)
    rows = np.where(np.isnan(table), 0, np.arange(len(table))[:, None])
    filled: F64 = np.take_along_axis(table, np.maximum.accumulate(rows), axis=0).ravel()[: len(kwh)]
    return filled
