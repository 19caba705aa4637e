"""Which worker prefers which partitions: the workers take numbered seats, and each seat has its share.

RabbitMQ gives a queue to the consumer with the highest priority, so the shares follow from the priorities alone.
"""

from zlib import crc32

FALLBACKS = 1000
"""Priorities below 0: who takes a partition when those that prefer it are gone."""


def priorities(seat: int, partitions: int) -> list[int]:
    """Return a seat's priority for each partition.

    With the seats from 0 to n taken, no seat has more than one partition more than another: each new seat takes some
    from those that have most, with a higher priority than theirs. When it is gone, they have them again.
    """
    owners = [0] * partitions
    taken = set(range(partitions))
    for each in range(1, seat + 1):
        taken = _take(owners, each)
    return [seat + 1 if each in taken else _fallback(seat, each) for each in range(partitions)]


def _take(owners: list[int], seat: int) -> set[int]:
    """Give a new seat its share; return it."""
    taken = set()
    for _ in range(len(owners) // (seat + 1)):
        counts = [owners.count(each) for each in range(seat)]
        richest = counts.index(max(counts))
        partition = owners.index(richest)
        owners[partition] = seat
        taken.add(partition)
    return taken


def _fallback(seat: int, partition: int) -> int:
    return crc32(f"{seat} {partition}".encode()) % FALLBACKS - FALLBACKS
