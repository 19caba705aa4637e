"""Readings for hypothesis: few ships, moments that meet at slot edges and around the longest gap."""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from shared.domain.readings import Readings
from tests.support.columns import as_columns
from tests.support.reference import COUNTER_KWH, ENERGY_KWH, NAN, POWER_KW, UNKNOWN, Deletion, Reading

DAY_US = 86_400_000_000
FIVE_MINUTES_US = 300_000_000
START_US = 1_535_068_800_000_000  # 2018-08-24T00:00:00Z
_STEPS_US = (1, 1_000_000, 60_000_000, 300_000_000, 900_000_000, 3_600_000_000, 12 * 3_600_000_000, DAY_US)


@st.composite
def _moments(draw: st.DrawFn) -> int:
    """Sum up a few steps of quite different sizes: edges, tiny distances and long silences all occur."""
    steps = draw(st.lists(st.sampled_from(_STEPS_US), max_size=4))
    return START_US + sum(step * draw(st.integers(0, 4)) for step in steps)


values = st.one_of(
    st.integers(0, 1000).map(float), st.floats(0, 1e12, allow_nan=False), st.sampled_from([0.0, 1e12, 1e-9])
)


def stating(of: Reading) -> Reading:
    """Leave out what a reading of its kind does not state."""
    if of.kind == UNKNOWN:
        return of._replace(value=NAN, duration_us=0, max_gap_us=0, rollover=0.0)
    if of.kind == COUNTER_KWH:
        return of._replace(duration_us=0)
    return of._replace(max_gap_us=0 if of.duration_us else of.max_gap_us, rollover=0.0)


_usual = {"ship": st.integers(1, 3), "moment_us": _moments(), "value": values, "sent_at_us": st.integers(0, 3)}
_kinds = st.sampled_from(range(UNKNOWN + 1))
plain_readings = st.builds(
    Reading,
    **_usual,
    kind=st.sampled_from([POWER_KW, ENERGY_KWH]),
    duration_us=st.just(0),
    max_gap_us=st.just(0),
    rollover=st.just(0.0),
)
_any_kind = st.builds(
    Reading,
    **_usual,
    kind=_kinds,
    duration_us=st.sampled_from([0, 0, 1, 60_000_000, 900_000_000, 3_600_000_000, DAY_US]),
    max_gap_us=st.sampled_from([0, 0, 900_000_000, 7_200_000_000, 2 * DAY_US]),
    rollover=st.sampled_from([0.0, 0.0, 1e-6, 1000.0, 1e12]),
).map(stating)
readings = st.one_of(plain_readings, _any_kind)
deletions = st.builds(
    lambda ship, one_us, other_us, sent_at_us: Deletion(ship, min(one_us, other_us), max(one_us, other_us), sent_at_us),
    st.integers(1, 3),
    _moments(),
    _moments(),
    st.integers(0, 3),
).filter(lambda each: each.start_us < each.end_us)


@st.composite
def histories(draw: st.DrawFn, max_size: int = 30) -> list[list[Reading]]:
    """Draw readings and cut them into batches: some repeated, in any order."""
    drawn = draw(st.lists(readings, min_size=1, max_size=max_size))
    repeated = draw(st.lists(st.sampled_from(drawn), max_size=5))
    shuffled = draw(st.permutations(drawn + repeated))
    cuts = sorted(draw(st.sets(st.integers(1, len(shuffled)), max_size=8)) | {0, len(shuffled)})
    return [shuffled[start:end] for start, end in pairwise(cuts)]


def every_five_minutes(start: int, count: int, ship: int = 1, value: float = 6.0) -> Readings:
    moments = START_US + FIVE_MINUTES_US * np.arange(start, start + count)
    return as_columns([(ship, moment, value, False, 1) for moment in moments.tolist()])
