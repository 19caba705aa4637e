"""The ways in which readings become energy per slot, each used as its documentation says, in a module of its own.

A module has `NAMES`, those of its methods, and `methods`, a context manager that gives them in that order. It raises
`Unavailable` if what they need is not installed.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from benchmarks.truth.scenarios import Scenario


class Answer(NamedTuple):
    """The energy of slots by their start, and which of them are marked as estimated."""

    kwh: Mapping[int, float]
    marked: Collection[int] = ()


Method = Callable[[Scenario], Answer | None]
"""Returns None where the method has no way to take such readings."""
