"""Receipts: tell a batch's sender that it was stored, or rejected and why."""

import json
from collections.abc import Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from shared.contract.mqtt_publish import MAX_CORRELATION_BYTES, Message
from shared.contract.topics import answer_topic, ship_of
from shared.domain.errors import Problem

Status = Literal["stored", "rejected"]


class Receipt(NamedTuple):
    """One receipt, ready to be sent.

    Attributes:
        topic: where it is published.
        payload: UTF-8 JSON.
        correlation: the message's Correlation Data, sent back with it.
        status: stored or rejected.

    """

    topic: str
    payload: bytes
    correlation: bytes | None
    status: Status


def stored(message: Message, ship: int, batch_id: UUID, readings: int) -> Receipt:
    """Return the receipt of a batch whose readings and slots are committed."""
    return _receipt(message, ship, batch_id, "stored", readings, ())


def rejected(message: Message, batch_id: UUID | None, problems: Sequence[Problem]) -> Receipt | None:
    """Return the receipt of a dead letter; None if it names no ship or has no `batch_id`."""
    ship = ship_of(message.topic)
    if ship is None or batch_id is None:
        return None
    return _receipt(message, ship, batch_id, "rejected", 0, problems)


def _receipt(  # noqa: PLR0913, PLR0917  # the members of one
    message: Message, ship: int, batch_id: UUID, status: Status, readings: int, problems: Sequence[Problem]
) -> Receipt:
    members = {
        "batch_id": str(batch_id),
        "spaceship_id": ship,
        "status": status,
        "readings": readings,
        "errors": [{"at": each.at, "problem": each.problem} for each in problems],
    }
    payload = json.dumps(members, separators=(",", ":")).encode()
    correlation, wanted = message.correlation, message.response_topic
    if correlation is not None and len(correlation) > MAX_CORRELATION_BYTES:
        correlation = None
    return Receipt(answer_topic(ship, wanted), payload, correlation, status)
