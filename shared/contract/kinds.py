"""What the members of a batch say of its readings: kind and unit, and where they contradict each other."""

from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import BaseModel, Field

from shared.contract.limits import MAX_DURATION_S, MAX_VALUE, MIN_GAP_S
from shared.domain.columns import F64
from shared.domain.errors import Problem
from shared.domain.readings import Kind

Values = TypeVar("Values", float, F64)


Units = Literal["W", "kW", "MW", "Wh", "kWh", "MWh"]
UNITS: tuple[str, ...] = get_args(Units)
Duration = Annotated[float, Field(strict=True, gt=0, le=MAX_DURATION_S)]
Gap = Annotated[float, Field(strict=True, ge=MIN_GAP_S, le=MAX_DURATION_S)]
Shown = Annotated[float, Field(strict=True, gt=0, le=MAX_VALUE * 1000)]


class WireStated(BaseModel):
    """The members of a batch that say what its values mean."""

    units: Units
    stamp: Literal["start", "end"] | None = Field(None, description="end: the readings speak for the time before them")
    between: Literal["hold", "linear"] | None = Field(None, description="linear: power changes evenly in between")
    counter: bool | None = Field(None, strict=True, description="true: the values are what a meter of energy shows")
    rollover: Shown | None = Field(None, description="the first value that the meter cannot show")
    duration_s: Duration | None = Field(None, description="how long each reading speaks")
    max_gap_s: Gap | None = Field(None, description="the longest time to its neighbour that a reading bridges")


def is_energy(units: str) -> bool:
    """Return whether a unit is one of energy."""
    return units[-1] == "h"


def in_kilo(value: Values, units: str) -> Values:
    """Convert a value to kW or kWh, rounding at most once."""
    if units[0] == "k":
        return value
    return value * 1000 if units[0] == "M" else value / 1000


PLAIN_KINDS = {unit: Kind.ENERGY_KWH if is_energy(unit) else Kind.POWER_KW for unit in UNITS}
"""The kind of readings of which only the unit is stated."""


def most_of(units: str, max_kw: float) -> float:
    """Return the largest value in a unit."""
    most = MAX_VALUE if units[-1] == "h" else max_kw
    return most if units[0] == "k" else most / in_kilo(1.0, units)


def kind_of(batch: WireStated) -> Kind:
    """Return the kind of a batch's readings that have a value; it has no `contradictions`."""
    if batch.counter:
        return Kind.COUNTER_KWH
    if is_energy(batch.units):
        return Kind.END_KWH if batch.stamp == "end" else Kind.ENERGY_KWH
    if batch.stamp == "end":
        return Kind.MEAN_KW
    return Kind.LINE_KW if batch.between == "linear" else Kind.POWER_KW


def contradictions(batch: WireStated) -> Iterator[Problem]:
    """Find members that do not go together."""
    if batch.between is not None and (is_energy(batch.units) or batch.stamp == "end"):
        yield Problem("between", "is for power stamped at the start")
    if batch.counter:
        if not is_energy(batch.units):
            yield Problem("counter", "is for units of energy")
        for name in ("stamp", "duration_s"):
            if getattr(batch, name) is not None:
                yield Problem(name, "a counter has none")
    elif batch.rollover is not None:
        yield Problem("rollover", "is for a counter")
    if batch.rollover is not None and batch.rollover > most_of(batch.units, MAX_VALUE):
        yield Problem("rollover", f"should be less than or equal to {most_of(batch.units, MAX_VALUE):.15g}")
    if batch.duration_s is not None and batch.max_gap_s is not None:
        yield Problem("max_gap_s", "may not be beside `duration_s`")
