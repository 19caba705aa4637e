"""The worker's receipts: a batch is stored, or rejected and why."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from normalizer_worker.mqtt.publish import Message
from shared.contract.limits import MAX_CORRELATION_BYTES
from shared.contract.receipt import receipt_json
from shared.contract.status import BatchKey, FinalStatus
from shared.contract.topics import receipt_topic_for, ship_of
from shared.domain.errors import Problem


class Receipt(NamedTuple):
    """One receipt, ready to be sent: UTF-8 JSON, with the Correlation Data of the message."""

    topic: str
    payload: bytes
    correlation: bytes | None
    status: FinalStatus


def stored(message: Message, ship: int, batch_id: UUID, readings: int, superseded: int = 0) -> Receipt:
    """Return the receipt of a batch whose readings and slots are committed."""
    payload = receipt_json(BatchKey(ship, str(batch_id)), "stored", readings, (), superseded)
    return _receipt(message, ship, "stored", payload)


def rejected(message: Message, batch_id: UUID | None, problems: Sequence[Problem]) -> Receipt | None:
    """Return the receipt of a dead letter; None if it names no ship or has no `batch_id`."""
    ship = ship_of(message.topic)
    if ship is None or batch_id is None:
        return None
    payload = receipt_json(BatchKey(ship, str(batch_id)), "rejected", 0, problems)
    return _receipt(message, ship, "rejected", payload)


def _receipt(message: Message, ship: int, status: FinalStatus, payload: bytes) -> Receipt:
    correlation = message.correlation
    if correlation is not None and len(correlation) > MAX_CORRELATION_BYTES:
        correlation = None
    return Receipt(receipt_topic_for(ship, message.response_topic), payload, correlation, status)
