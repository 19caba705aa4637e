"""Steps: slots counted from the end of the history, and those that models predict."""

import numpy as np

from shared.domain.columns import I64
from shared.domain.slots import SLOT_S

DAY_S = 86_400
DAY = DAY_S // SLOT_S
WEEK = 7 * DAY
DAYS = 14
STEPS = DAYS * DAY
"""How far models predict; beyond it, their second week is repeated."""


def modelled(step: I64) -> I64:
    """Return for each step the modelled step whose forecast is used for it."""
    return np.where(step < STEPS, step, WEEK + (step - WEEK) % WEEK)
