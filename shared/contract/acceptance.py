"""Which readings are accepted, by the settings. The gateway and the worker apply the same rules."""

from dataclasses import dataclass
from typing import NamedTuple

from shared.contract.limits import MAX_KW
from shared.domain.slots import DEFAULT_MAX_GAP_US
from shared.domain.timestamps import LAST_US, US_PER_S, iso, moment_us

OLDEST_US = moment_us("2000-01-01T00:00:00Z")
MAX_AHEAD_US = 900 * US_PER_S
CLOCKS_APART_US = 900 * US_PER_S
"""How far the worker's clock may be behind the gateway's before it rejects a batch that the gateway accepted."""
_UNITS = ((86_400, 1.5, "days"), (3_600, 1.5, "h"), (60, 1.5, "min"), (1, 0, "s"))


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules that depend on the service's settings.

    Attributes:
        allow_negative: accept values below 0, for fleets that feed energy back.
        max_gap_us: the longest time to the next reading that a reading counts for.
        max_ahead_us: how far a reading or a `sent_at` may be ahead of the clock.
        oldest_us: the earliest timestamp that is accepted.
        max_kw: the largest power that is accepted.

    """

    allow_negative: bool = False
    max_gap_us: int = DEFAULT_MAX_GAP_US
    max_ahead_us: int = MAX_AHEAD_US
    oldest_us: int = OLDEST_US
    max_kw: float = MAX_KW

    def period(self, now_us: int) -> "Period":
        """Return the timestamps that are accepted at `now_us`."""
        return Period(self.oldest_us, now_us, now_us + self.max_ahead_us)


class Period(NamedTuple):
    """The timestamps that are accepted at `now_us`; all in microseconds since 1970."""

    oldest_us: int
    now_us: int
    latest_us: int

    def fault(self, us: int) -> str | None:
        """Return what is wrong with a timestamp, None where it is accepted."""
        if us > self.latest_us:
            return f"is {_distance(us - self.now_us)} ahead of now: check the sender's clock and its UTC offset"
        if us < self.oldest_us:
            return f"is before {iso(self.oldest_us).removesuffix('T00:00:00Z')}: check the sender's clock"
        return None


EVER = Period(0, 0, LAST_US)
"""Every timestamp that can be written."""


def judged_at(now_us: int, accepted_us: int | None) -> int:
    """Return the time at which the worker checks a batch that the gateway accepted at `accepted_us`.

    The worker must not reject an accepted batch because its own clock is a little behind. A ship can send `accepted_at`
    as well; it gains at most `CLOCKS_APART_US`.
    """
    return now_us if accepted_us is None else min(max(now_us, accepted_us), now_us + CLOCKS_APART_US)


def _distance(us: int) -> str:
    seconds = us / US_PER_S
    size, unit = next((size, unit) for size, least, unit in _UNITS if seconds >= size * least)
    return f"{round(seconds / size, 1):g} {unit}"
