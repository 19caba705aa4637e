"""Which connections to close where all cannot be kept."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar


class Connection(Protocol):
    """A connection that may be closed."""

    @property
    def address(self) -> str:
        """Give the address of its client."""
        ...


C = TypeVar("C", bound=Connection)


class Waiting(NamedTuple, Generic[C]):
    """A connection that waits for its client.

    Attributes:
        since_s: since when.
        weight: what it takes up, such as bytes.

    """

    connection: C
    since_s: float
    weight: int = 1


def closing_order(waiting: Iterable[Waiting[C]]) -> Iterator[C]:
    """Give connections in the order in which to close them.

    The next one always belongs to the address whose connections together have the greatest weight left, to a factor of
    two. Of one address, and of addresses with equal weight, the one that has waited longest goes first.
    """
    groups: dict[str, list[Waiting[C]]] = defaultdict(list)
    for each in sorted(waiting, key=lambda each: each.since_s, reverse=True):
        groups[each.connection.address].append(each)
    weights = {address: sum(each.weight for each in group) for address, group in groups.items()}

    def entry(address: str) -> tuple[int, float, str]:
        return -weights[address].bit_length(), groups[address][-1].since_s, address

    heap = [entry(address) for address in groups]
    heapq.heapify(heap)
    while heap:
        _, _, address = heapq.heappop(heap)
        first = groups[address].pop()
        yield first.connection
        weights[address] -= first.weight
        if groups[address]:
            heapq.heappush(heap, entry(address))
