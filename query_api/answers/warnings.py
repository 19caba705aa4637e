"""What looks wrong in a ship's newest readings."""

import numpy as np

from shared.domain.readings import IS_POWER, Kind, Readings

NEAR_US = 60_000_000
"""How near a power and an energy reading are that look like one message of one meter."""
LEAST_TURNS = 2
ALTERNATE = "power and energy readings alternate: is this one meter?"


def warnings(newest: Readings) -> list[str]:
    """Return sentences about a ship's newest readings, by time; usually none."""
    return [ALTERNATE] if _alternate(newest) else []


def _alternate(newest: Readings) -> bool:
    """Tell whether most readings are of the other sort than the one before, power or energy, and some of them near."""
    known = newest[newest.kind != Kind.UNKNOWN]
    turns = np.diff(IS_POWER[known.kind].astype(np.int8)) != 0
    near = np.diff(known.moment_us) <= NEAR_US
    return int(2 * turns.sum()) > len(turns) and int((turns & near).sum()) >= LEAST_TURNS
