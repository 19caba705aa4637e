"""Which readings are taken, as the settings say it: the gateway and the worker judge by the same rules."""

from dataclasses import dataclass
from typing import NamedTuple

from shared.domain.timestamps import LAST_US, US_PER_S, iso, moment_us

OLDEST_US = moment_us("2000-01-01T00:00:00Z")
MAX_AHEAD_US = 900 * US_PER_S
CLOCKS_APART_US = 900 * US_PER_S
"""How far the gateway's clock may be ahead of the worker's, without the worker rejecting what the gateway accepted."""
_UNITS = ((86_400, 1.5, "days"), (3_600, 1.5, "h"), (60, 1.5, "min"), (1, 0, "s"))


@dataclass(frozen=True, slots=True)
class Rules:
    """What depends on the service's settings.

    Attributes:
        allow_negative: take values below 0, for fleets that feed energy back.
        max_gap_us: the longest silence that a reading still speaks across.
        max_ahead_us: how far a reading or a `sent_at` may be ahead of the clock.
        oldest_us: the first moment that is taken.

    """

    allow_negative: bool = False
    max_gap_us: int = 86_400 * US_PER_S
    max_ahead_us: int = MAX_AHEAD_US
    oldest_us: int = OLDEST_US

    def period(self, now_us: int) -> "Period":
        """Give the moments that are taken at a moment."""
        return Period(self.oldest_us, now_us, now_us + self.max_ahead_us)


class Period(NamedTuple):
    """The moments that are taken, seen from `now_us`; all in microseconds since 1970."""

    oldest_us: int
    now_us: int
    latest_us: int

    def fault(self, us: int) -> str | None:
        """Say what is wrong with a moment outside; None where it is inside."""
        if us > self.latest_us:
            return f"is {_distance(us - self.now_us)} ahead of now: check the sender's clock and its UTC offset"
        if us < self.oldest_us:
            return f"is before {iso(self.oldest_us).removesuffix('T00:00:00Z')}: check the sender's clock"
        return None


EVER = Period(0, 0, LAST_US)
"""Every moment that can be written."""


def judged_at(now_us: int, accepted_us: int | None) -> int:
    """Give the moment by which the worker judges a batch that the gateway says to have accepted at another one.

    A batch that the gateway has accepted must not be rejected because the worker's clock is somewhat behind. A ship can
    write that moment, too: it gains `CLOCKS_APART_US` at most.
    """
    return now_us if accepted_us is None else min(max(now_us, accepted_us), now_us + CLOCKS_APART_US)


def _distance(us: int) -> str:
    seconds = us / US_PER_S
    size, unit = next((size, unit) for size, least, unit in _UNITS if seconds >= size * least)
    return f"{round(seconds / size, 1):g} {unit}"
