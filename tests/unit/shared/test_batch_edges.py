"""Batches at the bounds of what is taken."""

import pytest

from shared.contract.limits import MAX_READINGS
from shared.domain.errors import InvalidInput
from tests.support.bad_batches import reading, readings
from tests.support.decoding import decode


def test_a_fault_in_a_batch_of_the_greatest_size_has_its_place() -> None:
    """The last of 100,000 readings is checked and named like any other."""
    rows = [
        reading(
            f'"2019-01-{1 + i // 86_400:02}T{i // 3600 % 24:02}:{i // 60 % 60:02}:{i % 60:02}Z"',
            "1",
        )
        for i in range(MAX_READINGS - 1)
    ]
    with pytest.raises(InvalidInput) as caught:
        decode(readings(*rows, reading(value='"1,5"')).encode())
    assert [each.at for each in caught.value.problems] == [f"data[{MAX_READINGS - 1}].value"]
