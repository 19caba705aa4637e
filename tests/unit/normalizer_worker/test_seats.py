"""The shares of seats: even for any number of workers."""

import pytest

from normalizer_worker.amqp.seats import priorities


def counts(seats: list[int], partitions: int) -> list[int]:
    """Tell how many partitions each seat gets: each goes to the highest priority."""
    wanted = {seat: priorities(seat, partitions) for seat in seats}
    owners = [max(seats, key=lambda seat: wanted[seat][partition]) for partition in range(partitions)]
    return [owners.count(seat) for seat in seats]


@pytest.mark.parametrize("partitions", [1, 2, 7, 12, 64, 100])
@pytest.mark.parametrize("workers", range(1, 17))
def test_shares_are_even_for_any_number_of_workers(workers: int, partitions: int) -> None:
    found = counts(list(range(workers)), partitions)
    assert sum(found) == partitions
    assert max(found) - min(found) <= 1


@pytest.mark.parametrize("gone", range(4))
def test_partitions_of_a_seat_that_is_gone_have_other_owners(gone: int) -> None:
    found = counts([seat for seat in range(4) if seat != gone], 64)
    assert sum(found) == 64
    assert min(found) >= 64 // 4, "nobody has fewer than before"


def test_new_seat_takes_partitions_from_others_and_moves_no_other() -> None:
    before, after = ([max(range(n), key=lambda s: priorities(s, 64)[p]) for p in range(64)] for n in (3, 4))
    assert all(new in (old, 3) for old, new in zip(before, after, strict=True))
