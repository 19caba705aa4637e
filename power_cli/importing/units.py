"""Units in headers: ``Power [W]``, ``Verbrauch (kWh)``, ``power_w``."""

import re
from collections.abc import Iterable

from power_cli.importing.wanted import MAX_CELL, listed, shown
from shared.contract.kinds import UNITS, Units
from shared.domain.errors import InvalidInput

UNIT_NAMES = frozenset(["unit", "units", "einheit", "einheiten", "uom", "unit of measurement"])
_OURS: dict[str, Units] = {unit.casefold(): unit for unit in UNITS}  # type: ignore[misc]  # they are the literals
_OTHERS = frozenset(
    (
        *(
            "mW",
            "GW",
            "TW",
            "mWh",
            "GWh",
            "TWh",
            "J",
            "kJ",
            "MJ",
            "GJ",
            "VA",
            "kVA",
            "MVA",
            "var",
            "kvar",
            "kVAr",
            "A",
            "mA",
        ),
        *("V", "mV", "kV", "Hz", "°C", "°F", "m³", "m3", "%", "Ah", "kVAh", "kvarh"),
    )
)
"""Units in brackets that are none of the service's. `mW` is a milliwatt."""
_BRACKETS = re.compile(r"[\[(]\s*([^\])]*?)\s*[\])]")
_WORDS = re.compile(r"[^A-Za-z]+")


def unit_in(name: str) -> Units | str | None:
    """Return the unit that a header names; other units than the service's only from brackets; None if it has none."""
    name = name[:MAX_CELL]
    inside = _BRACKETS.findall(name)
    for each in inside:
        if each in _OTHERS:
            return str(each)
    for text in (*inside, _BRACKETS.sub(" ", name)):
        found = {unit for word in _WORDS.split(text) if (unit := _as_unit(word)) is not None}
        if len(found) == 1:
            return found.pop()
    return None


def _as_unit(word: str) -> Units | str | None:
    if word in ("mW", "mWh"):
        return word
    return None if word in ("mw", "mwh") else _OURS.get(word.casefold())  # could be a milliwatt


def agreed(told: Iterable[tuple[str, str | None]]) -> tuple[Units, str]:
    """Return the unit and who says so.

    Args:
        told: who names a unit, and which; None where it names none.

    Raises:
        InvalidInput: they contradict each other, or nobody names one.

    """
    named = [(who, unit) for who, unit in told if unit is not None]
    if not named:
        raise InvalidInput(f"the header names no unit; give it with --units: {', '.join(UNITS)}")
    who, unit = named[0]
    others = [f"{each} says {other}" for each, other in named if other != unit]
    if others:
        raise InvalidInput(f"{who} says {unit}, but {listed(others)}: correct what is wrong")
    if unit not in UNITS:
        raise InvalidInput(f"{who} says {shown(unit)}, which is no unit of the service: {', '.join(UNITS)}")
    return _OURS[unit.casefold()], who
