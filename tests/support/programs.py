"""Finding the programs that a test needs, and telling at the end which were missing."""

import os
import re
from collections import Counter
from collections.abc import Iterable

import pytest

from power_cli.programs import PROGRAMS, find

_BY_PACKAGE = {each.package: each for each in PROGRAMS}
_REASON = re.compile(r"Skipped: (\S+) is not installed$")
NO_ENGINE = "there is no container engine"


def need(package: str, *names: str) -> str:
    """Return the path of a package's program, or of another one of its programs; without it, skip, or fail in CI."""
    program = find(*(names or _BY_PACKAGE[package].names))
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{package} is not installed")
    return program


def missing(skipped: pytest.TestReport) -> str | None:
    """Return the package for want of which a test was skipped, or `NO_ENGINE`; None if it was for something else."""
    reason = skipped.longrepr[2] if isinstance(skipped.longrepr, tuple) else ""
    if reason.startswith(f"Skipped: {NO_ENGINE}"):
        return NO_ENGINE
    found = _REASON.match(reason)
    return found[1] if found and found[1] in _BY_PACKAGE else None


def told(what: Iterable[str]) -> list[str]:
    """Return a line for each thing that is missing, given once for each test, and the command that installs them."""
    counts = Counter(what)
    lines = [
        f"{each.package} is not installed: {counts[each.package]} tests skipped ({each.tests})"
        for each in PROGRAMS
        if each.package in counts
    ]
    if lines:
        lines.append("`./power test --install` installs all of them (as root, on Debian)")
    if counts[NO_ENGINE]:
        lines.append(f"{NO_ENGINE}: {counts[NO_ENGINE]} tests skipped (all of docker-compose.yml, and InfluxDB 2)")
    return lines
