"""The simulated fleet that the tests of the dashboards look at."""

from functools import partial

import numpy as np

from power_cli.simulate import DAY_S, Ship, deliveries
from shared.domain.readings import Kind, Readings
from shared.domain.timestamps import US_PER_S, moment_us

SEED, SHIPS = 7, 12
END_US = moment_us("2024-03-01T10:20:30.5Z")
START_US = END_US - 2 * DAY_S * US_PER_S


KINDS = {"kW": Kind.POWER_KW, "kWh": Kind.ENERGY_KWH}


def simulated() -> Readings:
    """Give two days of a fleet; its last ship changes, half way, from kW to kWh."""
    fleet = [Ship.of(SEED, number) for number in range(1, SHIPS + 1)]
    power = next(ship for ship in fleet if ship.units == "kW")
    energy = next(ship for ship in fleet if ship.units == "kWh")
    middle_us = (START_US + END_US) // 2
    parts = []
    for sent in deliveries(fleet, START_US, END_US, SEED):
        count = len(sent.value)
        kind, sent_at_us = np.full(count, KINDS[sent.units], np.int8), np.full(count, sent.moment_us[-1])
        part = partial(Readings, moment_us=sent.moment_us, value=sent.value, kind=kind, sent_at_us=sent_at_us)
        parts.append(part(ship=np.full(count, sent.ship)))
        if sent.ship in {power.number, energy.number}:
            early = sent.moment_us < middle_us
            parts.append(part(ship=np.full(count, SHIPS + 1))[early if sent.ship == power.number else ~early])
    return Readings.concat(parts)
