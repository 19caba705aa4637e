"""What deletions leave of readings. Pure."""

import numpy as np

from shared.domain.columns import Bools
from shared.domain.deletions import Deletions
from shared.domain.readings import Readings


def undeleted(readings: Readings, deletions: Deletions) -> Readings:
    """Return the readings, in any order, that deletions leave; the deletions are as `joined` returns them."""
    return readings[~are_deleted(readings, deletions)] if len(deletions) else readings


def are_deleted(readings: Readings, deletions: Deletions) -> Bools:
    """Return which readings are deleted; the deletions are as `joined` returns them."""
    found = np.zeros(len(readings), np.bool_)
    for ship in np.unique(deletions.ship).tolist():
        own, rows = deletions[deletions.ship == ship], np.flatnonzero(readings.ship == ship)
        moment_us = readings.moment_us[rows]
        at = np.maximum(own.start_us.searchsorted(moment_us, side="right") - 1, 0)
        is_within = (own.start_us[at] <= moment_us) & (moment_us < own.end_us[at])
        found[rows] = is_within & (readings.sent_at_us[rows] <= own.sent_at_us[at])
    return found
