"""What every store of first-seen times guarantees, as tests; and one in memory."""

from collections.abc import Callable, Sequence

import pytest

from normalizer_worker.ledger.first_seen import Seen
from normalizer_worker.worker import FirstSeenStore

Reopen = Callable[[], FirstSeenStore]
"""Opens the same store once more, as after a restart; empty at first."""


def first_in(known: dict[bytes, tuple[int, bytes]], seen: Sequence[Seen]) -> list[int | None]:
    """Do what `PartitionFirstSeen` does; `known` has the time and the content of each key."""
    found = [known.setdefault(key, (received_us, content)) for key, received_us, content in seen]
    return [us if content == each.content else None for (us, content), each in zip(found, seen, strict=True)]


class MemoryFirstSeen:
    """First-seen times in a dictionary."""

    def __init__(self, known: dict[bytes, tuple[int, bytes]]) -> None:
        """Keep them in `known`."""
        self._known = known

    def first(self, seen: Sequence[Seen]) -> list[int | None]:
        """See `FirstSeenStore`."""
        return first_in(self._known, seen)


class FirstSeenContract:
    """Of all of them."""

    @pytest.fixture
    def reopen(self) -> Reopen:
        """Return how to open the store."""
        raise NotImplementedError

    def test_the_first_time_counts_for_every_repeat(self, reopen: Reopen) -> None:
        assert list(reopen().first([Seen(b"a", 5), Seen(b"b", 6), Seen(b"a", 7)])) == [5, 6, 5]
        assert list(reopen().first([Seen(b"a", 8), Seen(b"c", 9)])) == [5, 9]


class NamesContract(FirstSeenContract):
    """Of those for several gateways, which compare contents, too."""

    def test_a_key_belongs_to_the_first_content(self, reopen: Reopen) -> None:
        """Within one load, too; and a repeat of the first one is that, whatever came in between."""
        first, other = Seen(b"a", 5, b"one"), Seen(b"a", 6, b"another")
        assert list(reopen().first([first, other, first._replace(received_us=7)])) == [5, None, 5]
        assert list(reopen().first([other, first, Seen(b"b", 8, b"one")])) == [None, 5, 8]

    def test_what_a_load_says_again_is_no_other_content(self, reopen: Reopen) -> None:
        """A crash after the first-seen times, before the readings: all of it is delivered again."""
        load = [Seen(b"a", 5, b"one"), Seen(b"b", 6, b"two"), Seen(b"c", 7)]
        for _ in range(3):
            assert list(reopen().first(load)) == [5, 6, 7]
