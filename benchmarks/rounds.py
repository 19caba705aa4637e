"""How things are measured: in rounds, taken in turn."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from benchmarks.databases import Database, Place


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; `folder` is the bench's own, on a real disk, and is removed at the end."""

    folder: Path
    quick: bool
    database: Database

    def size(self, full: int, quick: int) -> int:
        """Choose a size."""
        return quick if self.quick else full

    def new_place(self) -> Place:
        """Make room for one store."""
        return self.database.new_place(Path(tempfile.mkdtemp(dir=self.folder)))


def in_turn(rounds: int, *measure: Callable[[], float]) -> list[list[float]]:
    """Take several measurements in turn, so that whatever disturbs the machine disturbs them alike.

    Args:
        rounds: how often; one more, before them, warms everything up and does not count.
        measure: each gives its figure.

    Returns:
        The figures of each, in the order of `measure`.

    """
    taken = [[each() for each in measure] for _ in tqdm(range(rounds + 1), unit="round", leave=False)]
    return [list(figures) for figures in zip(*taken[1:], strict=True)]


def milliseconds(work: Callable[[], object]) -> float:
    """Time a piece of work."""
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1e3
