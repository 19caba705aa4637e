"""Steps: slots counted from the end of what is known, and which of them models say something of."""

import numpy as np

from shared.domain.readings import I64
from shared.domain.slots import SLOT_S

DAY_S = 86_400
DAY = DAY_S // SLOT_S
WEEK = 7 * DAY
DAYS = 14
STEPS = DAYS * DAY
"""So far models look; beyond, their second week is repeated."""


def modelled(step: I64) -> I64:
    """Give, for steps of any distance, the step whose forecast stands for them."""
    return np.where(step < STEPS, step, WEEK + (step - WEEK) % WEEK)


def days_of(step: I64) -> list[int]:
    """Give the days, counted from 0, that models have to look at for these steps."""
    days: list[int] = np.unique(modelled(step) // DAY).tolist()
    return days
