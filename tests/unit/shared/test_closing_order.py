"""Which connections are closed first where all cannot be kept."""

from typing import NamedTuple, cast

from shared.http.channel import Channel
from shared.http.closing_order import Waiting, closing_order


class Connection(NamedTuple):
    """One that says who it is."""

    address: str
    number: int


def _waiting(address: str, number: int, since_s: float, weight: int = 1) -> Waiting:
    return Waiting(cast("Channel", Connection(address, number)), since_s, weight)


def _order(*waiting: Waiting) -> list[int]:
    return [cast("Connection", each).number for each in closing_order(waiting)]


def test_of_one_address_the_longest_waiting_goes_first() -> None:
    assert _order(*(_waiting("a", n, since_s) for n, since_s in enumerate([3.0, 1.0, 2.0]))) == [1, 2, 0]


def test_the_address_with_the_most_connections_gives_first() -> None:
    """Until it has no more than others; then it is by age."""
    crowd = [_waiting("crowd", n, 100.0 + n) for n in range(8)]
    assert _order(_waiting("old", 99, 1.0), *crowd) == [0, 1, 2, 3, 4, 5, 6, 99, 7]


def test_weight_counts_for_more_than_age() -> None:
    light = [_waiting(f"light-{n}", n, float(n), 4_000) for n in range(3)]
    assert _order(*light, _waiting("heavy", 9, 50.0, 4_000_000)) == [9, 0, 1, 2]
