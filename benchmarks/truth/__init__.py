"""What different ways make of the same messy readings, and this service's rule against nature (docs/truth.md).

Prints tables of its own, because here many are compared at a time, and returns the usual rows of a summary.
"""

import sys

from benchmarks.rounds import Options
from benchmarks.table import Row
from benchmarks.truth import nature
from benchmarks.truth.comparing import Figure, Figures, cells, compared, percent
from benchmarks.truth.contenders.service import NAMES
from benchmarks.truth.scenarios import Scenario
from power_cli.markdown import table

OURS = NAMES[1]
"""The method that is judged: a sender says what its values mean."""


def measure(options: Options) -> list[Row]:
    """Compare all ways in all scenarios, and then the rule with a household."""
    found = list(compared(options))
    names = list(found[0][1])
    lines = [line for scenario, figures in found for line in cells(scenario, list(figures.values()))]
    kw, source = nature.household()
    senders = nature.senders(kw)
    sys.stdout.write(f"\n{table([['', *names], *lines])}\n\n{source}:\n\n{table(nature.cells(senders))}\n")
    return [*(_row(*each) for each in found), *map(_of_nature, senders)]


def _row(scenario: Scenario, figures: Figures) -> Row:
    ours, found = figures[OURS], {name: each for name, each in figures.items() if isinstance(each, Figure)}
    others = [each for name, each in found.items() if name not in NAMES]
    return Row(
        f"energy in the wrong slot: {scenario.name}",
        str(ours),
        f"{sum(each.is_exact for each in others)} of {len(others)} others are exact, too",
        None,
        "exact",
        holds=isinstance(ours, Figure) and ours.is_exact,
        samples={name: list(each) for name, each in found.items()},
    )


def _of_nature(sender: nature.Sender) -> Row:
    """Compare holding samples with straight lines between them."""
    ratio, wanted = sender.line / sender.held, "more" if sender.name == nature.ON_CHANGE else "less"
    return Row(
        f"energy in the wrong slot: a household, {sender.name}",
        f"on lines {percent(sender.line)}",
        f"held {percent(sender.held)}",
        ratio,
        wanted,
        holds=(ratio > 1) is (wanted == "more"),
        samples={"held": [sender.held], "line": [sender.line]},
    )
