"""What ships send to a service whose parts die or are cut off: each sends until it knows that it may stop."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from shared.domain.timestamps import iso
from tests.support.processes import Processes, Ship
from tests.support.reference import Reading
from tests.support.strategies import START_US
from tests.support.waiting import until

MINUTE_US = 60_000_000
AGAIN_S = 1.0
"""How often a ship repeats what has no receipt."""


def batch(of: int, *values: tuple[int, float], **members: Any) -> dict[str, Any]:
    """Make one of kW, its moments in minutes."""
    data = [{"datetime": iso(START_US + minute * MINUTE_US), "value": value} for minute, value in values]
    return {"spaceship_id": of, "units": "kW", "batch_id": str(uuid4()), "data": data, **members}


def rows(sent: dict[str, Any], minutes: Sequence[int], order: int) -> list[Reading]:
    """Give what the reference needs of a batch, and when it was sent, counted in batches."""
    values = [each["value"] for each in sent["data"]]
    return [
        Reading(sent["spaceship_id"], START_US + minute * MINUTE_US, value, False, order)
        for minute, value in zip(minutes, values, strict=True)
    ]


class Load:
    """What ships send until they know that they may stop: on HTTP until the answer, on MQTT until the receipt."""

    def __init__(self, processes: Processes, ship: Ship) -> None:
        self._processes, self._ship = processes, ship
        self._unanswered: list[dict[str, Any]] = []
        self._posted: list[dict[str, Any]] = []
        self._published: dict[str, dict[str, Any]] = {}
        self._again_s = 0.0

    def post(self, sent: dict[str, Any]) -> None:
        self._unanswered.append(sent)
        self._posted.append(sent)

    def publish(self, sent: dict[str, Any]) -> None:
        self._published[sent["batch_id"]] = sent
        self._ship.receipts.pop(sent["batch_id"], None)
        self._again_s = 0.0

    def send(self) -> None:
        """Send once what has no answer yet."""
        if time.monotonic() >= self._again_s:
            self._again_s = time.monotonic() + AGAIN_S
            for sent in self._without_receipt():
                self._ship.send(sent)
        for sent in list(self._unanswered):
            if self._processes.post(sent):
                self._unanswered.remove(sent)
                self._processes.gateway.let_die()

    def _without_receipt(self) -> list[dict[str, Any]]:
        return [sent for name, sent in self._published.items() if name not in self._ship.receipts]

    def settle(self) -> None:
        """Send until all is answered, stored or rejected, whoever dies on the way."""

        def is_settled() -> bool:
            have_died = self._processes.gateway.revive() & self._processes.worker.revive()
            self.send()
            decided = all(self._processes.outcome(sent) in {"stored", "rejected"} for sent in self._posted)
            return have_died and decided and not self._without_receipt() and self._processes.outbox_batches() == 0

        until(is_settled, "all is stored, and whoever was to die has died", 60)
