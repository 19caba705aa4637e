"""The rule again, slowly and in exact fractions, written from its description and not from the code under test."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

SLOT_US = 900_000_000
LONE_US = 900_000_000
US_PER_HOUR = 3_600_000_000
POWER_KW, ENERGY_KWH = 0, 1


class Reading(NamedTuple):
    """One reading, in the order of the columns of `shared.domain.readings.Readings`."""

    ship: int
    moment_us: int
    value: float
    kind: int
    sent_at_us: int


@dataclass
class Slot:
    """What one slot of one ship sums up to."""

    kwh: Fraction = Fraction(0)
    covered_us: int = 0
    provisional: bool = False


def counting(readings: Iterable[Reading]) -> dict[tuple[int, int], Reading]:
    """Give the reading that counts, under its ship and its moment in microseconds."""
    found: dict[tuple[int, int], Reading] = {}
    for each in readings:
        key = (each.ship, each.moment_us)
        if key not in found or _rank(each) > _rank(found[key]):
            found[key] = each
    return found


def slots(readings: Iterable[Reading], max_gap_us: int) -> dict[tuple[int, int], Slot]:
    """Give every slot with cover, under its ship and its start in seconds."""
    counted = counting(readings).values()
    found: dict[tuple[int, int], Slot] = {}
    for ship in {each.ship for each in counted}:
        own = sorted((each for each in counted if each.ship == ship), key=lambda each: each.moment_us)
        for i, each in enumerate(own):
            end_us = _end(own, i, max_gap_us)
            length_us = end_us - each.moment_us
            start_us = each.moment_us
            while start_us < end_us:
                slot_us = start_us // SLOT_US * SLOT_US
                stop_us = min(end_us, slot_us + SLOT_US)
                slot = found.setdefault((ship, slot_us // 1_000_000), Slot())
                per_us = Fraction(each.value) / (length_us if each.kind == ENERGY_KWH else US_PER_HOUR)
                slot.kwh += per_us * (stop_us - start_us)
                slot.covered_us += stop_us - start_us
                slot.provisional |= i == len(own) - 1
                start_us = stop_us
    return found


def _rank(reading: Reading) -> tuple[int, int, float]:
    return reading.sent_at_us, reading.kind, reading.value


def _end(own: list[Reading], i: int, max_gap_us: int) -> int:
    moment_us = own[i].moment_us
    if i + 1 < len(own) and own[i + 1].moment_us - moment_us <= max_gap_us:
        return own[i + 1].moment_us
    if i > 0 and moment_us - own[i - 1].moment_us <= max_gap_us:
        return 2 * moment_us - own[i - 1].moment_us
    return moment_us + LONE_US
