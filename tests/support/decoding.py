"""Batches read by rules that take every moment there is: for tests of everything else."""

from typing import Any

from shared.contract import decoding
from shared.contract.acceptance import Rules
from shared.contract.batch import Batch, Received
from shared.domain.timestamps import LAST_US

NOW_US = 1_750_000_000_000_000
"""2025-06-15T15:06:40Z."""


def decode(payload: bytes, *, topic_ship: int | None = None, **rules: Any) -> Batch:
    """Read one; `rules` are those of `Rules` that are others."""
    return receive(payload, topic_ship=topic_ship, **rules).batch


def receive(payload: bytes, *, topic_ship: int | None = None, **rules: Any) -> Received:
    """Read one, with its readings as they were sent."""
    judged_by = Rules(**{"max_ahead_us": LAST_US, "oldest_us": 0, **rules})
    return decoding.receive(payload, judged_by, NOW_US, topic_ship=topic_ship)
