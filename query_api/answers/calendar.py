"""Where the buckets of an answer begin: hours, days and months of local time, in whole slots.

pandas converts time zones. Its `resample` is not used, because its bins differ where clocks change: on Lord Howe all
hours of the day after a half-hour change begin at half past, and in Apia the day that was skipped gets a row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np

from shared.domain.columns import I64
from shared.domain.slots import SLOT_S

Coarse = Literal["1h", "1d", "1mo"]
DAY_S = 86_400
HOUR_S = 3600
MARGIN_S: dict[Coarse, int] = {"1h": DAY_S, "1d": 3 * DAY_S, "1mo": 33 * DAY_S}
"""Longer than any bucket of a resolution."""


def offsets_s(zone: str | ZoneInfo, start_s: I64) -> I64:
    """Return the UTC offsets of a zone at timestamps (seconds since 1970), in seconds, int64[n]."""
    import pandas as pd  # noqa: PLC0415  # 0.3 s and 70 MB, for local time alone

    local = pd.DatetimeIndex(start_s.astype("datetime64[s]"), tz="UTC").tz_convert(zone).tz_localize(None)
    return local.to_numpy("datetime64[s]").astype(np.int64) - start_s


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of one answer: all slots that begin in the same local hour, day or month."""

    resolution: Coarse
    zone: ZoneInfo

    def edges_s(self, first_s: int, last_s: int) -> I64:
        """Return where buckets begin, from the one with the slot `first_s` to the one after that of `last_s`."""
        margin_s = MARGIN_S[self.resolution]
        begin_s = max(first_s - margin_s, 0) // SLOT_S * SLOT_S
        slots_s = np.arange(begin_s, last_s + margin_s, SLOT_S, dtype=np.int64)
        keys = _KEYS[self.resolution](slots_s, offsets_s(self.zone, slots_s))
        edges = slots_s[np.append(begin_s == 0, keys[1:] != keys[:-1])]
        low, high = np.searchsorted(edges, [first_s, last_s], side="right")
        found: I64 = edges[max(int(low) - 1, 0) : int(high) + 1]
        return found


def _hours(slots_s: I64, offset_s: I64) -> I64:
    """Number the hour of each slot. An hour that comes twice, because the clock is put back, has two numbers."""
    return (slots_s + offset_s) // HOUR_S * (4 * DAY_S) + offset_s


def _days(slots_s: I64, offset_s: I64) -> I64:
    """Number the day of each slot. A clock that is put back over midnight does not end the new day."""
    days: I64 = np.maximum.accumulate((slots_s + offset_s) // DAY_S)
    return days


def _months(slots_s: I64, offset_s: I64) -> I64:
    return _days(slots_s, offset_s).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


_KEYS: dict[Coarse, Callable[[I64, I64], I64]] = {
    "1h": _hours,
    "1d": _days,
    "1mo": _months,
}
