"""This service: batches as JSON through its own contract, the worker's recorder and the store of the run."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from benchmarks.rounds import Options
from benchmarks.truth.contenders import Answer, Method
from benchmarks.truth.scenarios import Scenario, Sent
from normalizer_worker.recorder import Recorder
from shared.contract.acceptance import Rules
from shared.contract.batch import columns
from shared.contract.decoding import decode
from shared.domain.readings import Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, Window
from shared.domain.timestamps import US_PER_S, iso, moment_us
from shared.store.port import EnergyReader, ReadingStore

NAMES = ("this service, unit alone", "this service, kind stated")
NOW_US = moment_us("2024-06-01T00:00:00Z")
AT_ONCE = 100
"""Batches of one transaction."""
STATED: dict[Kind, dict[str, Any]] = {
    Kind.LINE_KW: {"between": "linear"},
    Kind.END_KWH: {"stamp": "end"},
    Kind.COUNTER_KWH: {"counter": True},
}
_ships = itertools.count(1)


class Store(EnergyReader, ReadingStore, Protocol):
    """Both halves of a store."""


@contextmanager
def methods(options: Options) -> Iterator[list[Method]]:
    """Return the methods of a sender that states the unit alone, and of one that states what its values mean."""
    store = options.new_place().open_store()
    try:
        yield [
            lambda scenario: slots(store, scenario, stated=False),
            lambda scenario: slots(store, scenario, stated=True),
        ]
    finally:
        store.close()


def slots(store: Store, scenario: Scenario, *, stated: bool) -> Answer:
    """Record a scenario as a ship of its own, and read its slots."""
    ship, recorder = next(_ships), Recorder(store, DEFAULT_MAX_GAP_US)
    batches = []
    for each in scenario.sent:
        batch = decode(_payload(ship, each, stated=stated), Rules(), NOW_US)
        batches.append(batch._replace(sent_at_us=each.sent_s * US_PER_S))
    for first in range(0, len(batches), AT_ONCE):
        recorder.record(columns(batches[first : first + AT_ONCE]))
    found = store.slots(ship, Window())
    starts_s = found.start_s.tolist()
    estimated = {start_s for start_s, s in zip(starts_s, found.estimated_s.tolist(), strict=True) if s}
    return Answer(dict(zip(starts_s, found.kwh.tolist(), strict=True)), estimated)


def _payload(ship: int, sent: Sent, *, stated: bool) -> bytes:
    batch: dict[str, Any] = {"spaceship_id": ship, "units": sent.kind.unit}
    if stated:
        batch |= STATED.get(sent.kind, {}) | ({"duration_s": sent.span_s} if sent.span_s else {})
    data = [{"datetime": iso(sent.moment_s * US_PER_S), "value": sent.value}]
    return json.dumps({**batch, "data": data}).encode()
