"""Packs keep every bit of their readings, in a form that later programs read too."""

from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.readings import Kind, Readings
from shared.store.packs import packed, unpacked
from tests.support.columns import as_columns
from tests.support.strategies import START_US

VERSION_1 = bytes.fromhex(
    "0107ff789c63600203070630e08750b210ca0d42bd80505c0c282074a5c999ffff19425719a35202ce60ea9b26986234fdff"
    "c1b52b387d9a733dc3ffffac2c0d0c10fb1848055c4c4cac246b0283ff60928f174ca9ab83297676a2355eba08a63c3dc154"
    "76360976e2a31aeac1949c1c986a6c0400e6b8290f"
)
"""A pack as this program first wrote it; what it holds is in `OF_VERSION_1`."""
OF_VERSION_1 = [
    (7, START_US, 1.5, Kind.POWER_KW, 5, 0, 0, 0.0),
    (7, START_US + 1, 1 / 3, Kind.ENERGY_KWH, 6, 60_000_000, 0, 0.0),
    (7, START_US + 2, -4.0, Kind.LINE_KW, 7, 0, 900_000_000, 0.0),
    (7, START_US + 3, 0.1, Kind.MEAN_KW, 4, 0, 0, 0.0),
    (7, START_US + 4, 1e12, Kind.END_KWH, 4, 0, 0, 0.0),
    (7, START_US + 5, 9.0, Kind.COUNTER_KWH, 4, 0, 0, 1000.0),
    (7, START_US + 6, 0.0, Kind.UNKNOWN, 4, 0, 0, 0.0),
]

whole = st.integers(-(2**63), 2**63 - 1)
values = st.one_of(
    st.floats(),
    st.integers(0, 99_999).map(lambda tenths: tenths / 10),
    st.sampled_from([0.0, -0.0, 0.1 + 0.2, 2.0**53, 2.0**53 + 2, 1e-6, 1e-7, 1e308, nan]),
)
kinds = st.sampled_from(Kind)


@given(
    st.lists(st.tuples(whole, values, kinds, whole), min_size=1, max_size=20),
    st.one_of(st.none(), st.tuples(whole, whole, st.floats())),
)
def test_what_is_packed_comes_back_to_the_last_bit(
    rows: list[tuple[int, float, Kind, int]], stated: tuple[int, int, float] | None
) -> None:
    readings = Readings.from_rows([(7, *row, *(stated or (0, 0, 0.0))) for row in rows])
    assert_same_bits(unpacked(7, packed(readings)), readings)


@given(st.lists(st.integers(-99_999, 99_999), min_size=1), st.integers(0, 6))
def test_values_with_few_decimals_come_back_to_the_last_bit(digits: list[int], decimals: int) -> None:
    readings = as_columns([(7, START_US + i, each / 10**decimals, 0, i) for i, each in enumerate(digits)])
    assert_same_bits(unpacked(7, packed(readings)), readings)


def assert_same_bits(found: Readings, expected: Readings) -> None:
    assert (found.stated is None) == (expected.stated is None)
    for mine, theirs in zip(found.columns(), expected.columns(), strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.tobytes() == theirs.tobytes()


def test_a_pack_of_every_kind_is_read_for_ever() -> None:
    """A number of a kind, an order of columns or a way to count that changes would change what is stored."""
    assert list(unpacked(7, VERSION_1).rows()) == OF_VERSION_1


def test_a_pack_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="a pack of ship 7 has format 2, this program needs 1"):
        unpacked(7, b"\x02" + VERSION_1[1:])


def test_a_day_of_five_minutes_takes_three_bytes_a_reading() -> None:
    """Tenths of a kW at random: what nothing can make smaller than two bytes."""
    value = np.random.default_rng(1).integers(0, 30_000, 288) / 10
    rows = [(7, START_US + i * 300_000_000, each, 0, START_US) for i, each in enumerate(value.tolist())]
    assert len(packed(as_columns(rows))) < 3 * 288
