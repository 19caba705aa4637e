"""The worked cases of the rule."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from shared.domain.timestamps import moment_us
from tests.support import reference
from tests.support.reference import Deletion, Reading

_FILES = ("golden_cases.json", "readings_cases.json")
CASES: list[dict[str, Any]] = [
    case for name in _FILES for case in json.loads(Path(__file__).with_name(name).read_text("utf-8"))["cases"]
]
NAMES = [case["name"] for case in CASES]
_KILO = {"W": Fraction(1, 1000), "kW": Fraction(1), "MW": Fraction(1000)}
_FACTORS = _KILO | {f"{unit}h": factor for unit, factor in _KILO.items()}


def readings_of(case: dict[str, Any]) -> list[Reading]:
    """Give the readings of a case; its batches are sent at 0, 2, 4 … µs."""
    return [each for i, batch in enumerate(case["batches"]) for each in rows(batch, 2 * i)]


def deletions_of(case: dict[str, Any]) -> list[Deletion]:
    """Give the deletions of a case, which are sent after its first batch."""
    span = case.get("delete_after_first")
    ship = case["batches"][0]["spaceship_id"]
    return [Deletion(ship, moment_us(span["start"]), moment_us(span["end"]), 1)] if span else []


def rows(batch: dict[str, Any], sent_at_us: int) -> list[Reading]:
    """Translate a batch as it is sent into readings; it says nothing wrong."""
    factor = _FACTORS[batch["units"]]
    return [
        Reading(
            batch["spaceship_id"],
            moment_us(each["datetime"]),
            reference.NAN if each["value"] is None else float(Fraction(each["value"]) * factor),
            reference.UNKNOWN if each["value"] is None else _kind(batch),
            sent_at_us,
            int(each.get("duration_s", batch.get("duration_s", 0)) * 1_000_000),
            int(batch.get("max_gap_s", 0) * 1_000_000),
            float(Fraction(batch.get("rollover", 0)) * factor),
        )
        for each in batch["data"]
    ]


def _kind(batch: dict[str, Any]) -> int:
    is_energy, at_end = batch["units"].endswith("h"), batch.get("stamp") == "end"
    if batch.get("counter"):
        return reference.COUNTER_KWH
    if at_end:
        return reference.END_KWH if is_energy else reference.MEAN_KW
    if batch.get("between") == "linear":
        return reference.LINE_KW
    return reference.ENERGY_KWH if is_energy else reference.POWER_KW
