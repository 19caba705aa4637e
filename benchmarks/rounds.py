"""Measuring in rounds, with several measurements in turn."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from benchmarks.databases import Database, Place


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a run; `folder` is for its files and is removed at the end."""

    folder: Path
    quick: bool
    database: Database

    def size(self, full: int, quick: int) -> int:
        """Return the size for this run."""
        return quick if self.quick else full

    def new_place(self) -> Place:
        """Create an empty store."""
        return self.database.new_place(Path(tempfile.mkdtemp(dir=self.folder)))


def in_turn(rounds: int, *measure: Callable[[], float]) -> list[list[float]]:
    """Return the results of measurements taken in turn, so that disturbances of the machine affect all of them.

    A warm-up round comes before the others and does not count.
    """
    taken = [[each() for each in measure] for _ in tqdm(range(rounds + 1), unit="round", leave=False)]
    return [list(figures) for figures in zip(*taken[1:], strict=True)]


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1e3
