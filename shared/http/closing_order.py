"""Which connections to close when a limit is exceeded."""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from shared.http.channel import Channel


class Waiting(NamedTuple):
    """A connection waiting for its client.

    Attributes:
        since_s: since when.
        weight: the resources it uses, such as bytes.

    """

    connection: Channel
    since_s: float
    weight: int = 1


def closing_order(waiting: Iterable[Waiting]) -> Iterator[Channel]:
    """Yield connections in the order in which to close them.

    The next one belongs to the address with the greatest remaining total weight, compared as powers of two. Within an
    address, and among addresses of equal weight, the connection that has waited longest comes first.
    """
    groups: dict[str, list[Waiting]] = defaultdict(list)
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
