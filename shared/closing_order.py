"""Which connections to close where all cannot be kept."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class Waiting(Protocol):
    """A connection that may be closed."""

    @property
    def address(self) -> str:
        """Give the address of its client."""
        ...


C = TypeVar("C", bound=Waiting)


def closing_order(connections: Iterable[tuple[float, C]]) -> Iterator[C]:
    """Give connections in the order in which to close them.

    The next one always belongs to the address that has the most connections left. Of one address, and of addresses with
    equally many, the one that has waited longest goes first.

    Args:
        connections: each with the moment since when it waits, in seconds.

    """
    by_address: dict[str, list[tuple[float, int, C]]] = defaultdict(list)
    for number, (since_s, each) in enumerate(connections):
        by_address[each.address].append((-since_s, number, each))
    groups = list(by_address.values())
    for group in groups:
        group.sort(key=lambda entry: entry[:2])
    heap = [(-len(group), -group[-1][0], number) for number, group in enumerate(groups)]
    heapq.heapify(heap)
    while heap:
        _, _, number = heapq.heappop(heap)
        group = groups[number]
        yield group.pop()[2]
        if group:
            heapq.heappush(heap, (-len(group), -group[-1][0], number))
