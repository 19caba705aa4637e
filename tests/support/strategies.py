"""Readings for hypothesis: few ships, moments that meet at slot edges and around the longest gap."""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from shared.domain.readings import Readings
from tests.support.reference import ENERGY_KWH, POWER_KW, Reading

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
readings = st.builds(
    Reading,
    ship=st.integers(1, 3),
    moment_us=_moments(),
    value=values,
    kind=st.sampled_from([POWER_KW, ENERGY_KWH]),
    sent_at_us=st.integers(0, 3),
)


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
    return Readings.from_rows([(ship, moment, value, False, 1) for moment in moments.tolist()])
