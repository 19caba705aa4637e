"""Compares what two stores have of a ship: readings, deletions and covariates exactly, slots to nine digits."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from power_cli.copying.parts import Part, Ship, parts
from shared.domain.columns import Columns
from shared.domain.slots import NOWHEN, Slots, Window
from shared.store.port import EnergyReader

TOLERANCE = 1e-9
"""Relative, and in kWh and seconds: how readings were cut into batches may change a slot's last bits."""
FLEET_S = 31 * 86_400
"""How much of the fleet's slots is compared at once."""


@dataclass(slots=True)
class Totals:
    """What there is of one ship or of all."""

    readings: int = 0
    value: float = 0.0
    slots: int = 0
    kwh: float = 0.0
    deletions: int = 0
    covariates: int = 0

    def add(self, part: Part, slots: Slots) -> None:
        """Add a part and its slots."""
        self.readings += len(part.readings)
        self.value += float(np.nansum(part.readings.value))
        self.slots += len(slots)
        self.kwh += float(slots.kwh.sum())

    def join(self, other: "Totals") -> None:
        """Add what there is of another ship."""
        self.readings += other.readings
        self.value += other.value
        self.slots += other.slots
        self.kwh += other.kwh
        self.deletions += other.deletions
        self.covariates += other.covariates

    def add_rest(self, store: EnergyReader, ship: int) -> None:
        """Add the deletions and the covariates of a ship."""
        self.deletions += len(store.deletions([ship]))
        self.covariates += store.covariates(ship) is not None

    def __str__(self) -> str:
        deletions = f", {self.deletions:,} deletions" if self.deletions else ""
        covariates = f", {self.covariates:,} tables of covariates" if self.covariates else ""
        return (
            f"{self.readings:,} readings (sum of values {self.value:.6g}), {self.slots:,} slots of {self.kwh:,.6f} kWh"
            f"{deletions}{covariates}"
        )


def has_part(store: EnergyReader, part: Part, slots: Slots) -> bool:
    """Return whether a store has the same readings as a part, and the same slots."""
    count = len(part.readings) + 1
    found = store.readings(part.ship.number, part.start_us, part.end_us, count)
    return same(part.readings, found) and same(slots, part.slots(store), TOLERANCE)


def has_rest(source: EnergyReader, target: EnergyReader, ship: int) -> bool:
    """Return whether two stores have the same deletions and covariates of a ship."""
    is_same = same(source.deletions([ship]), target.deletions([ship]))
    return is_same and source.covariates(ship) == target.covariates(ship)


def totals(store: EnergyReader, ship: Ship) -> Totals:
    """Sum up a ship."""
    found = Totals()
    found.add_rest(store, ship.number)
    for part in parts(store, ship):
        found.add(part, part.slots(store))
    return found


def same(one: Columns, other: Columns, tolerance: float = 0.0) -> bool:
    """Return whether columns are equal, those of floats within a tolerance."""
    if len(one) != len(other):
        return False
    return all(
        np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True) if a.dtype.kind == "f" else (a == b).all()
        for a, b in zip(one.columns(), other.columns(), strict=True)
    )


def fleet_differences(source: EnergyReader, target: EnergyReader) -> Iterator[Window]:
    """Return the windows in which the fleet's sums differ."""
    extents = [source.extent() or NOWHEN, target.extent() or NOWHEN]
    bounds = [each.bounds_s() for each in extents if each != NOWHEN]
    start_s, end_s = min((each[0] for each in bounds), default=0), max((each[1] for each in bounds), default=0)
    for first_s in range(start_s, end_s, FLEET_S):
        window = Window(first_s, min(first_s + FLEET_S, end_s))
        # A sum over many ships is rounded differently.
        if not same(source.fleet(window), target.fleet(window), 1e-6):
            yield window
