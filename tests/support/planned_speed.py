"""A ship that uses energy as it sails: its planned speed changes every six hours."""

import numpy as np

from shared.domain.columns import F64
from shared.domain.covariates import Covariates, Table
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import US_PER_S
from tests.support.slots import MONDAY_S


def speeds(days: int, seed: int = 1) -> F64:
    """Return the speed in each slot of some days from `MONDAY_S` on."""
    return np.repeat(np.random.default_rng(seed).uniform(0, 20, days * 4), 24).round(2)


def kwh_at(speed: F64) -> F64:
    """Return the energy of slots with such a speed."""
    return 10 + speed


def planned(speed: F64, ship: int = 7, sent_at_us: int = 1) -> Covariates:
    """Return a table with a row for each slot."""
    moment_us = (MONDAY_S + SLOT_S * np.arange(len(speed), dtype=np.int64)) * US_PER_S
    return Covariates(ship, sent_at_us, Table(moment_us, {"speed": speed}).content())
