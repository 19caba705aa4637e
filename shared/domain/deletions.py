"""Deletions of readings as columns."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from shared.domain.columns import I64, Columns

DeletionRow = tuple[int, int, int, int]
"""One deletion: its columns in the order of `Deletions`."""


@dataclass(frozen=True, slots=True, eq=False)
class Deletions(Columns):
    """Spans of time of n ships, from which the readings are deleted that were sent no later than `sent_at_us`.

    What is stored of one ship does not overlap: where two deletions do, the later sent one counts.

    Attributes:
        ship: `spaceship_id`, int64[n].
        start_us: microseconds since 1970, int64[n].
        end_us: microseconds since 1970, more than `start_us`, int64[n].
        sent_at_us: when the deletion was sent, microseconds since 1970 in UTC, int64[n].

    """

    row = np.dtype("i8, i8, i8, i8")

    ship: I64
    start_us: I64
    end_us: I64
    sent_at_us: I64


def joined(one: Deletions, other: Deletions) -> Deletions:
    """Return all deletions, by ship and time, none overlapping: where two do, the later sent one counts."""
    spans = sorted([*one.rows(), *other.rows()])
    return Deletions.from_rows(_merged(_disjoint(spans)))


def _disjoint(spans: list[DeletionRow]) -> Iterator[DeletionRow]:
    """Cut sorted spans at each other's edges, and keep the latest of each part."""
    open_spans: list[tuple[int, int]] = []
    """Those that have begun, as (-sent_at_us, end_us): the latest comes first."""
    edges = sorted({(ship, edge_us) for ship, start_us, end_us, _ in spans for edge_us in (start_us, end_us)})
    at = 0
    for (ship, start_us), (next_ship, end_us) in pairwise(edges):
        while at < len(spans) and spans[at][:2] == (ship, start_us):
            heapq.heappush(open_spans, (-spans[at][3], spans[at][2]))
            at += 1
        while open_spans and open_spans[0][1] <= start_us:
            heapq.heappop(open_spans)
        if next_ship != ship:
            open_spans.clear()
        elif open_spans:
            yield ship, start_us, end_us, -open_spans[0][0]


def _merged(spans: Iterator[DeletionRow]) -> Iterator[DeletionRow]:
    """Join spans that meet and were sent at the same time."""
    last: DeletionRow | None = None
    for each in spans:
        if last is not None and (last[0], last[2], last[3]) == (each[0], each[1], each[3]):
            last = (last[0], last[1], each[2], last[3])
            continue
        if last is not None:
            yield last
        last = each
    if last is not None:
        yield last
