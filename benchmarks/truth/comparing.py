"""How far the contenders are from the truth, scenario by scenario."""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from typing import NamedTuple

from benchmarks.rounds import Options
from benchmarks.truth.contenders import Answer, Method
from benchmarks.truth.scenarios import Scenario, scenarios
from shared.domain.errors import Unavailable

CONTENDERS = ("service", "in_pandas", "postgres", "beliefs", "influx", "victoria")
ROUNDING = 1e-5
"""Of a scenario's energy; less is exact. MetricsQL is asked a millisecond beside the slots' edges."""
NOT_INSTALLED, NO_WAY = "not installed", "not offered"


class Figure(NamedTuple):
    """What one method makes of one scenario: shares of the energy that was really used.

    Attributes:
        misplaced: the sum of the differences in the slots that readings are about from end to end, and of what lacks in
            the others of the energy that readings are about.
        made_up: in these others, what is more, for the time that no reading is about.
        marked: the share of that which is in slots marked as estimated.

    """

    misplaced: float
    made_up: float = 0
    marked: float = 0

    @property
    def is_exact(self) -> bool:
        """Whether there is no difference but rounding."""
        return self.misplaced < ROUNDING

    def __str__(self) -> str:
        """Return what a table says of `misplaced`."""
        return "exact" if self.is_exact else percent(self.misplaced)

    def about_silence(self) -> str:
        """Return what a table says of `made_up`."""
        if self.made_up < ROUNDING:
            return "nothing"
        share = "" if self.marked > 1 - ROUNDING else f"{percent(self.marked)} of it "
        return percent(self.made_up) + (f", {share}marked" if self.marked else "")


Figures = Mapping[str, Figure | str]
"""By the names of the methods; a text says why there is none."""


def compared(options: Options) -> Iterator[tuple[Scenario, Figures]]:
    """Run all methods on all scenarios."""
    with ExitStack() as running:
        methods: dict[str, Method | None] = {}
        for name in CONTENDERS:
            methods |= _methods(name, options, running)
        for scenario in scenarios():
            sys.stderr.write(f"truth: {scenario.name} …\n")
            yield scenario, {name: _figure(scenario, method) for name, method in methods.items()}


def _methods(name: str, options: Options, running: ExitStack) -> Mapping[str, Method | None]:
    """Start what a contender needs; without it, there is None for each of its methods."""
    try:
        contender = importlib.import_module(f"benchmarks.truth.contenders.{name}")
    except ModuleNotFoundError as error:
        sys.stderr.write(f"truth: {name} is left out: {error}\n")
        return {name: None}
    try:
        found = running.enter_context(contender.methods(options))
    except Unavailable as missing:
        sys.stderr.write(f"truth: {missing}\n")
        return dict.fromkeys(contender.NAMES)
    return dict(zip(contender.NAMES, found, strict=True))


def _figure(scenario: Scenario, method: Method | None) -> Figure | str:
    if method is None:
        return NOT_INSTALLED
    answer = method(scenario)
    return NO_WAY if answer is None else judged(scenario, answer)


def judged(scenario: Scenario, answer: Answer) -> Figure:
    """Compare slots with the truth; a slot that is missing has no energy."""

    def said(slot_s: int) -> Fraction:
        return Fraction(answer.kwh.get(slot_s, 0))

    truth, silent = scenario.truth(), scenario.silent()
    wrong = [abs(said(slot_s) - kwh) for slot_s, kwh in truth.items()]
    wrong += [max(known - said(slot_s), Fraction(0)) for slot_s, (known, _) in silent.items()]
    made_up = {slot_s: max(said(slot_s) - known, Fraction(0)) for slot_s, (known, _) in silent.items()}
    total = sum(made_up.values(), Fraction(0))
    marked = sum(kwh for slot_s, kwh in made_up.items() if slot_s in answer.marked)
    return Figure(
        misplaced=float(sum(wrong) / (sum(truth.values()) + sum(known for known, _ in silent.values()))),
        made_up=float(total / sum(unknown for _, unknown in silent.values())) if silent else 0,
        marked=float(marked / total) if total else 0,
    )


def cells(scenario: Scenario, figures: Sequence[Figure | str]) -> Iterator[list[str]]:
    """Return the lines of a table for a scenario: where readings speak, and where none does."""
    yield [scenario.name, *map(str, figures)]
    if scenario.unknown:
        silent = (each if isinstance(each, str) else each.about_silence() for each in figures)
        yield ["… for the time without readings", *silent]


def percent(share: float) -> str:
    """Return a share as a percentage, with two digits or more."""
    return f"{share * 100:,.{2 if share < 1 / 1000 else 1 if share < 1 / 10 else 0}f} %"
