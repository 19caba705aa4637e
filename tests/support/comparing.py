"""Comparing computed slots with the reference's exact ones."""

import pytest

from shared.domain.slots import Slots
from tests.support.reference import Slot

RELATIVE = 1e-9
NEXT_TO_NOTHING_KWH = 1e-300


def assert_same(computed: Slots, expected: dict[tuple[int, int], Slot]) -> None:
    """Compare every property of every slot: keys, cover and mark exactly, energy to 1e-9 relative."""
    keys = list(zip(computed.ship.tolist(), computed.start_s.tolist(), strict=True))
    assert sorted(keys) == sorted(expected)
    assert len(set(keys)) == len(keys)
    for i, key in enumerate(keys):
        slot = expected[key]
        assert computed.kwh[i] == pytest.approx(float(slot.kwh), rel=RELATIVE, abs=NEXT_TO_NOTHING_KWH), key
        assert computed.covered_s[i] == slot.covered_us / 1e6, key
        assert computed.provisional[i] == slot.provisional, key
        assert computed.estimated_s[i] == slot.estimated_us / 1e6, key
