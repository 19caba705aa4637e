"""The backlog: what takes long to record, done in parts, one ship after the other, between the loads of all.

It takes expensive batches, deletions, and tables of covariates. Each table is a part of its own.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from normalizer_worker.load import Item
from normalizer_worker.recorder import costs
from normalizer_worker.rule.intervals import longest_us
from normalizer_worker.rule.normalize import latest
from shared.contract.batch import columns
from shared.domain.deletions import DeletionRow
from shared.domain.readings import Readings

MAX_PART_COST = 50_000
"""Maximum cost of a part (see `recorder.costs`), and the minimum: some 50 stretches, and 5."""
MIN_PART_COST = 5_000
SHORT_S, LONG_S = 0.1, 0.25
"""Parts grow after one that took less than `SHORT_S`, and shrink after one that took more than `LONG_S`."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many messages a backlog holds, and of how many bytes.

    These messages are not acknowledged, and the broker sends only a certain number and size of unacknowledged messages:
    without this limit the backlog would block the messages of all other ships.
    """

    messages: int
    size_bytes: int


OF_A_SHIP = Room(15_000, 32 * 1024 * 1024)
OF_ALL = Room(18_000, 48 * 1024 * 1024)
"""Less than the broker sends unacknowledged: 20,000 messages, 64 MiB (`mosquitto/*.conf`)."""
GROUP_MESSAGES = 5_000
GROUP_READINGS = 50_000
"""So much of a ship is sorted by time and recorded together: readings far apart in one message may be close to those of
another."""


class Part(NamedTuple):
    """Some readings of a ship's group of batches, recorded in one transaction; `is_last` if they are its last ones.

    `lost` is for the readings of all parts of the group that do not count. Or it is what is left of a deletion, of
    which as much is done in one transaction as `cost` allows: see `rest`.
    """

    ship: int
    items: Sequence[Item]
    readings: Readings
    is_last: bool
    lost: list[Readings]
    deletion: DeletionRow | None = None
    cost: int = 0

    def rest(self, left: DeletionRow | None) -> "Part":
        """Return the part as it is done, with what is `left` of its deletion."""
        return self._replace(deletion=left, is_last=left is None)


class _Share:
    """The backlog of one ship."""

    def __init__(self) -> None:
        self.waiting: deque[Item] = deque()
        self.size_bytes = 0
        self.group: Sequence[Item] = ()
        """The first items, which are being recorded together."""
        self.readings = Readings.from_rows([])
        """The group's readings that are not recorded yet, by time."""
        self.lost: list[Readings] = []
        """Those of its recorded readings that do not count."""
        self.deletion: DeletionRow | None = None
        """What is left of the deletion that the group is: it is then a group of its own."""
        self.is_closed = False
        """Whether messages are shed: from the first that found no room until a quarter is free again."""

    def exceeds(self, room: Room) -> bool:
        return len(self.waiting) > room.messages or self.size_bytes > room.size_bytes

    def begin_group(self) -> None:
        first = self.waiting[0].valid
        if not first.has_readings:
            self.group = [self.waiting[0]]
            if first.deletes is not None:
                self.deletion = (first.ship, *first.deletes, first.sent_at_us or 0)
            return
        group, count = list[Item](), 0
        for each in islice(self.waiting, GROUP_MESSAGES):
            count += len(each.valid.moment_us)
            if group and (count > GROUP_READINGS or not each.valid.has_readings):
                break
            group.append(each)
        self.group, self.readings = group, latest(columns([each.valid for each in group]))

    def end_group(self) -> None:
        for each in self.group:
            self.waiting.popleft()
            self.size_bytes -= each.message.size_bytes
        self.group, self.readings, self.lost, self.deletion = (), self.readings[:0], [], None


class Backlog:
    """Holds batches in memory until all their parts are recorded; after a reconnect the broker redelivers them."""

    def __init__(self, max_gap_us: int, of_a_ship: Room = OF_A_SHIP, of_all: Room = OF_ALL) -> None:
        """Begin empty; `max_gap_us` as in `normalize`."""
        self._max_gap_us = max_gap_us
        self._of_a_ship = of_a_ship
        self._of_all = of_all
        self._reopening = Room(of_a_ship.messages * 3 // 4, of_a_ship.size_bytes * 3 // 4)
        self._part_cost = MIN_PART_COST
        self._shares: dict[int, _Share] = {}
        """By ship; the next to be recorded comes first."""

    def __len__(self) -> int:
        """Return the number of messages."""
        return sum(len(share.waiting) for share in self._shares.values())

    def __contains__(self, ship: int) -> bool:
        """Return whether a ship has any."""
        return ship in self._shares

    def is_full(self, ship: int) -> bool:
        """Return whether messages of a ship are shed; they need not be decoded."""
        share = self._shares.get(ship)
        return share is not None and share.is_closed

    def clear(self) -> None:
        """Forget everything."""
        self._shares.clear()

    def add(self, item: Item) -> list[Item]:
        """Add a batch; return those that are shed for it, perhaps itself.

        The messages of shed batches are not stored; acknowledge them without a receipt.
        """
        ship = item.valid.ship
        share = self._shares.setdefault(ship, _Share())
        share.waiting.append(item)
        share.size_bytes += item.message.size_bytes
        shed = []
        if len(share.waiting) > 1 and share.exceeds(self._of_a_ship):
            shed.append(self._shed(ship))
        while self._is_too_much():
            # A partly recorded batch is not shed, so that large batches do finish.
            sheddable = [number for number, each in self._shares.items() if len(each.waiting) > len(each.group)]
            shed.append(self._shed(max(sheddable, key=lambda each: self._shares[each].size_bytes)))
        return shed

    def _is_too_much(self) -> bool:
        size_bytes = sum(share.size_bytes for share in self._shares.values())
        return len(self) > self._of_all.messages or size_bytes > self._of_all.size_bytes

    def _shed(self, ship: int) -> Item:
        """Remove the newest batch of a ship."""
        share = self._shares[ship]
        share.is_closed = True
        item = share.waiting.pop()
        share.size_bytes -= item.message.size_bytes
        if not share.waiting:
            del self._shares[ship]
        return item

    def next_part(self) -> Part:
        """Return the next part of the next ship; it stays in the backlog until `done`."""
        ship, share = next(iter(self._shares.items()))
        if not share.group:
            share.begin_group()
        left = share.readings
        if share.deletion is not None:
            return Part(ship, share.group, left, is_last=False, lost=[], deletion=share.deletion, cost=self._part_cost)
        cost = np.cumsum(costs(left.ship, left.moment_us, longest_us(left, self._max_gap_us)))
        end = max(int(np.searchsorted(cost, self._part_cost, side="right")), 1)
        return Part(ship, share.group, left[:end], end >= len(left), share.lost)

    def done(self, part: Part, took_s: float) -> None:
        """Remove a recorded part, note how long it took, and go on to the next ship."""
        if took_s > LONG_S:
            self._part_cost = max(self._part_cost // 2, MIN_PART_COST)
        elif took_s < SHORT_S:
            self._part_cost = min(self._part_cost * 2, MAX_PART_COST)
        share = self._shares.pop(part.ship)
        share.readings, share.deletion = share.readings[len(part.readings) :], part.deletion
        if part.is_last:
            share.end_group()
            share.is_closed &= share.exceeds(self._reopening)
        if share.waiting:
            self._shares[part.ship] = share
