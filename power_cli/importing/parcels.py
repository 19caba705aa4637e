"""Cuts the readings of a file into batches."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from power_cli.importing.content import Content
from power_cli.importing.series import Series
from power_cli.sending import Parcel
from shared.contract.limits import MAX_SLOTS
from shared.domain.slots import count_slots
from shared.domain.timestamps import US_PER_S
from shared.runtime.settings import MAX_GAP_S

BATCH_READINGS = 10_000


def parcels(content: Content, name: str) -> Iterator[Parcel]:
    """Yield batches by ship and time; `name` is the file's."""
    wanted, series = content.wanted, content.series
    looks_back = wanted.stamp == "end" and not content.has_intervals
    stated: dict[str, object] = {"counter": True} if wanted.counter else {}
    if looks_back:
        stated["stamp"] = "end"
    edges = [0, *(np.flatnonzero(np.diff(series.ship)) + 1).tolist(), len(series)]
    for first, end in pairwise(edges):
        for begin in range(first, end, BATCH_READINGS):
            for part in _few_slots(series[begin : min(begin + BATCH_READINGS, end)], looks_back=looks_back):
                yield Parcel(
                    name=f"{name}:{part.line.min()}-{part.line.max()}",
                    ship=int(part.ship[0]),
                    units=content.understanding.units,
                    moment_us=part.moment_us,
                    value=part.value,
                    stated=stated,
                    duration_us=part.duration_us if part.duration_us.any() else None,
                )


def _few_slots(series: Series, *, looks_back: bool) -> Iterator[Series]:
    """Halve a batch until no part covers more slots than the service accepts, whatever its longest gap is."""
    duration_us = series.duration_us if series.duration_us.any() else None
    slots = count_slots(series.moment_us, MAX_GAP_S * US_PER_S, duration_us, looks_back=looks_back)
    if slots <= MAX_SLOTS or len(series) == 1:
        yield series
        return
    half = len(series) // 2
    yield from _few_slots(series[:half], looks_back=looks_back)
    yield from _few_slots(series[half:], looks_back=looks_back)
