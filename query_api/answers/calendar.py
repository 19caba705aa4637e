"""Where the buckets of an answer begin: hours, days and months by a zone's local time, in whole slots."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

import numpy as np

from shared.domain.readings import I64
from shared.domain.slots import SLOT_S

Coarse = Literal["1h", "1d", "1mo"]
DAY_S = 86_400
HOUR_S = 3600
MARGIN_S = 33 * DAY_S
"""No bucket is longer."""
BLOCK_S = 6 * HOUR_S
"""A zone that has the same offset so far apart has not had another in between."""


@cache
def zone_names() -> frozenset[str]:
    """Give all zones that there are; they are looked for once. Debian has this machine's own among them, and none."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def offsets_s(zone: ZoneInfo, start_s: I64) -> I64:
    """Give how far a zone's local time is ahead of UTC at some moments, in seconds."""
    blocks, which = np.unique(start_s // BLOCK_S, return_inverse=True)
    before, after = (np.array([_offset_s(zone, at) for at in (blocks + i) * BLOCK_S], np.int64) for i in (0, 1))
    found: I64 = before[which]
    for i in np.flatnonzero((before != after)[which]):
        found[i] = _offset_s(zone, int(start_s[i]))
    return found


def _offset_s(zone: ZoneInfo, at_s: int) -> int:
    offset = datetime.fromtimestamp(at_s, zone).utcoffset()
    return 0 if offset is None else offset.days * DAY_S + offset.seconds


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of one answer: all slots whose start has the same local hour and offset, day, or month."""

    resolution: Coarse
    zone: ZoneInfo

    def edges_s(self, first_s: int, last_s: int) -> I64:
        """Give where buckets begin: that which holds the slot `first_s`, all up to that of `last_s`, and the next."""
        begin_s = max(first_s - MARGIN_S, 0) // SLOT_S * SLOT_S
        slots_s = np.arange(begin_s, last_s + MARGIN_S, SLOT_S, dtype=np.int64)
        keys = _KEYS[self.resolution](slots_s, offsets_s(self.zone, slots_s))
        edges = slots_s[np.append(begin_s == 0, keys[1:] != keys[:-1])]
        low, high = np.searchsorted(edges, [first_s, last_s], side="right")
        found: I64 = edges[max(int(low) - 1, 0) : int(high) + 1]
        return found


def _hours(slots_s: I64, offset_s: I64) -> I64:
    """Name each slot's hour; where the clock is put back, the hour that comes twice is two."""
    return (slots_s + offset_s) // HOUR_S * (4 * DAY_S) + offset_s


def _days(slots_s: I64, offset_s: I64) -> I64:
    """Name each slot's day; where the clock is put back over midnight, the new day has begun."""
    days: I64 = np.maximum.accumulate((slots_s + offset_s) // DAY_S)
    return days


def _months(slots_s: I64, offset_s: I64) -> I64:
    return _days(slots_s, offset_s).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


_KEYS: dict[Coarse, Callable[[I64, I64], I64]] = {
    "1h": _hours,
    "1d": _days,
    "1mo": _months,
}
