"""Batches that cost much to record: recorded in parts, one ship after the other, between the loads of everybody."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from normalizer_worker.mqtt.publish import Message
from normalizer_worker.recorder import costs
from normalizer_worker.rule.normalize import latest
from shared.contract.batch import Batch, columns
from shared.domain.readings import Readings

MAX_PART_COST = 50_000
"""Maximum cost of a part (see `recorder.costs`), and the minimum: some 50 stretches, and 5."""
MIN_PART_COST = 5_000
SHORT_S, LONG_S = 0.1, 0.25
"""A part that takes less time is followed by larger ones, one that takes more by smaller ones."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many messages a backlog holds, and of how many bytes.

    They are not acknowledged, and the broker sends no more than a certain number and size of unacknowledged messages:
    a backlog without this bound would leave no room for anybody else's.
    """

    messages: int
    size_bytes: int


OF_A_SHIP = Room(15_000, 32 * 1024 * 1024)
OF_ALL = Room(18_000, 48 * 1024 * 1024)
"""Less than the broker sends unacknowledged: 20,000 messages, 64 MiB (`mosquitto/*.conf`)."""
GROUP_MESSAGES = 5_000
GROUP_READINGS = 50_000
"""So much of a ship is put in the order of time and recorded together: what is far apart in one message may be close to
what another holds."""


class Waiting(NamedTuple):
    """A message in the backlog, and its batch, which has its `sent_at_us`."""

    message: Message
    batch: Batch


class Shed(NamedTuple):
    """A message that there is no room for: acknowledged, not stored, and without a receipt."""

    ship: int
    message: Message


class Part(NamedTuple):
    """What is recorded in one go.

    Attributes:
        ship: whose batches they are.
        waiting: one or more batches.
        readings: some of theirs.
        is_last: whether nothing is left of the batches afterwards.

    """

    ship: int
    waiting: Sequence[Waiting]
    readings: Readings
    is_last: bool


class _Share:
    """What one ship has in the backlog."""

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self.size_bytes = 0
        self.group: Sequence[Waiting] = ()
        """The first ones, which are being recorded together."""
        self.readings = Readings.from_rows([])
        """What is left to be recorded of them, by time."""
        self.is_closed = False
        """Whether messages are shed: from the first that found no room until there is some room again."""

    def exceeds(self, room: Room) -> bool:
        return len(self.waiting) > room.messages or self.size_bytes > room.size_bytes

    def begin_group(self) -> None:
        group, count = list[Waiting](), 0
        for each in islice(self.waiting, GROUP_MESSAGES):
            count += len(each.batch.moment_us)
            if group and count > GROUP_READINGS:
                break
            group.append(each)
        self.group, self.readings = group, latest(columns([each.batch for each in group]))

    def end_group(self) -> None:
        for each in self.group:
            self.waiting.popleft()
            self.size_bytes -= each.message.size_bytes
        self.group, self.readings = (), self.readings[:0]


class Backlog:
    """Holds batches in memory until all their parts are recorded; after a reconnect they come again from the broker."""

    def __init__(self, max_gap_us: int, of_a_ship: Room = OF_A_SHIP, of_all: Room = OF_ALL) -> None:
        """Begin empty; `max_gap_us` as in `normalize`."""
        self._max_gap_us = max_gap_us
        self._of_a_ship = of_a_ship
        self._of_all = of_all
        self._reopening = Room(of_a_ship.messages * 3 // 4, of_a_ship.size_bytes * 3 // 4)
        self._part_cost = MIN_PART_COST
        self._shares: dict[int, _Share] = {}
        """By ship; the one whose turn it is comes first."""

    def __len__(self) -> int:
        """Count the messages."""
        return sum(len(share.waiting) for share in self._shares.values())

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._shares)

    def __contains__(self, ship: int) -> bool:
        """Tell whether a ship has batches here."""
        return ship in self._shares

    def is_full(self, ship: int) -> bool:
        """Tell whether nothing more of a ship is taken for now; it need not even be decoded."""
        share = self._shares.get(ship)
        return share is not None and share.is_closed

    def clear(self) -> None:
        """Forget everything."""
        self._shares.clear()

    def add(self, message: Message, batch: Batch) -> list[Shed]:
        """Take a batch; give what has to be shed for it, which may be itself."""
        share = self._shares.setdefault(batch.ship, _Share())
        share.waiting.append(Waiting(message, batch))
        share.size_bytes += message.size_bytes
        shed = []
        if len(share.waiting) > 1 and share.exceeds(self._of_a_ship):
            shed.append(self._shed(batch.ship))
        while self._is_too_much():
            # A batch is not shed once it is partly recorded, so that large ones get done in the end.
            sheddable = [ship for ship, each in self._shares.items() if len(each.waiting) > len(each.group)]
            shed.append(self._shed(max(sheddable, key=lambda ship: self._shares[ship].size_bytes)))
        return shed

    def _is_too_much(self) -> bool:
        size_bytes = sum(share.size_bytes for share in self._shares.values())
        return len(self) > self._of_all.messages or size_bytes > self._of_all.size_bytes

    def _shed(self, ship: int) -> Shed:
        """Give up the newest message of a ship."""
        share = self._shares[ship]
        share.is_closed = True
        message = share.waiting.pop().message
        share.size_bytes -= message.size_bytes
        if not share.waiting:
            del self._shares[ship]
        return Shed(ship, message)

    def next_part(self) -> Part:
        """Give what is to be recorded next, of the ship whose turn it is; it stays here until `done`."""
        ship, share = next(iter(self._shares.items()))
        if not share.group:
            share.begin_group()
        left = share.readings
        cost = np.cumsum(costs(left.ship, left.moment_us, self._max_gap_us))
        end = max(int(np.searchsorted(cost, self._part_cost, side="right")), 1)
        return Part(ship, share.group, left[:end], is_last=end >= len(left))

    def done(self, part: Part, took_s: float) -> None:
        """Note that a part needs nothing more, and how long it took; have it be the next ship's turn."""
        if took_s > LONG_S:
            self._part_cost = max(self._part_cost // 2, MIN_PART_COST)
        elif took_s < SHORT_S:
            self._part_cost = min(self._part_cost * 2, MAX_PART_COST)
        share = self._shares.pop(part.ship)
        share.readings = share.readings[len(part.readings) :]
        if part.is_last:
            share.end_group()
            share.is_closed &= share.exceeds(self._reopening)
        if share.waiting:
            self._shares[part.ship] = share
