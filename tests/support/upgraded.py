"""What a store of the release before kinds held, and what it must hold once it is brought forward."""

from normalizer_worker.recorder import Recorder
from shared.domain.readings import Kind, Readings
from tests.support import reference
from tests.support.columns import as_columns
from tests.support.comparing import assert_same
from tests.support.reference import Reading
from tests.support.store_contract import DAY_S, EVER_US, MINUTE_US, Store, all_slots, assert_roll_ups
from tests.support.strategies import START_US

_MINUTES = [0, 5, 50, 61, 150, 152, 400, 430, 520, 9000, 9020, 9021]
PLAIN_ROWS = [
    Reading(ship, START_US + (minute + ship) * MINUTE_US, float(minute), kind, 1)
    for ship, kind in ((1, Kind.POWER_KW), (2, Kind.ENERGY_KWH), (3, Kind.POWER_KW))
    for minute in _MINUTES[: 4 * ship]
]
"""Held power and energy with gaps of all lengths."""


def assert_kept(store: Store, max_gap_us: int) -> None:
    """Check that a store holds `PLAIN_ROWS` with their slots, and takes more."""
    expected = reference.slots(PLAIN_ROWS, max_gap_us)
    assert sum(slot.estimated_us for slot in expected.values())
    assert_same(all_slots(store), expected)
    assert_roll_ups(store, expected)
    found = Readings.concat([store.readings(ship, 0, EVER_US, 99) for ship in (1, 2, 3)])
    assert list(found.rows()) == list(map(tuple, PLAIN_ROWS))
    more = [Reading(ship, START_US - DAY_S, 1.0, Kind.POWER_KW, 1) for ship in (1, 2, 3)]
    Recorder(store, max_gap_us).record(as_columns(more))
    assert_same(all_slots(store), reference.slots([*PLAIN_ROWS, *more], max_gap_us))
