"""Refuses a file where reading on would be guessing; the message names lines."""

from collections.abc import Iterator, Sequence

from power_cli.importing.content import Content
from power_cli.importing.layout import Layout
from power_cli.importing.records import Record
from power_cli.importing.wanted import listed, shown

TENTH = 0.1


def doubts(content: Content) -> Iterator[str]:
    """Yield what speaks against sending the readings."""
    faults, checks, wanted = content.faults, content.checks, content.wanted
    values = content.rows * content.understanding.values_per_row
    if content.wide and not wanted.skip_bad:
        yield too_wide(content.wide, content.understanding.layout)
    elif faults.count > TENTH * values and not wanted.skip_bad:
        yield (
            f"{faults.count:,} of {values:,} values cannot be read, which is more than a tenth:"
            " --skip-bad leaves them out and sends the others"
        )
    if checks.twice:
        yield "; ".join((_twice(content), *_hints(content)))
    if checks.overlaps:
        yield f"the intervals of {listed(checks.overlaps)} overlap"


def too_wide(wide: Sequence[Record], layout: Layout) -> str:
    """Return that rows have more cells than the header."""
    lines = [str(each.line) for each in wide]
    named = f"line {lines[0]} has" if len(lines) == 1 else f"lines {', '.join(lines[:-1])} and {lines[-1]} have"
    counts = ", ".join(map(str, sorted({each.cells for each in wide})))
    comma = "; is the decimal mark a comma?" if layout.separator == "," else ""
    return f"{named} {counts} cells, the header {len(layout.header)}{comma}"


def _twice(content: Content) -> str:
    checks = content.checks
    count = len(checks.twice)
    come = "1 moment comes" if count == 1 else f"{count:,} moments come"
    other = " with other values" if checks.have_other_values else ""
    return f"{come} twice{other}: {listed(checks.twice, 3)}"


def _hints(content: Content) -> Iterator[str]:
    others = [
        f"{shown(name)} ({', '.join(sorted(values))})"
        for name, values in content.understanding.others.items()
        if values is not None and len(values) > 1
    ]
    if others:
        yield f"if there are several series in the file, choose with --where or --ship-column: {listed(others, 3)}"
    if content.wanted.zone is None and content.understanding.is_local:
        yield "the times have no offset: if the clock was put back, name its zone with --tz"
