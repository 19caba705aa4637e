"""What a POST left in the outbox, and what a refusal says."""

import threading
from typing import Any

import pytest
from werkzeug.test import TestResponse

from ingest_api.outbox.entry import Entry
from ingest_api.outbox.outbox import Outbox
from shared.contract.status import BatchStatus
from shared.domain.errors import Problem


def kept(outbox: Outbox) -> list[tuple[int, bytes]]:
    """Give ship and payload of all that waits."""
    return [(each.ship, each.payload) for each in outbox.waiting(0, 1000, 1 << 30)]


def problem(response: TestResponse) -> dict[str, Any]:
    """Give what a refusal says, which must be a problem of RFC 9457."""
    assert response.mimetype == "application/problem+json"
    said = response.json
    assert isinstance(said, dict)
    assert said["status"] == response.status_code
    assert said["title"]
    return said


def failing(outbox: Outbox, error: Exception, monkeypatch: pytest.MonkeyPatch) -> Outbox:
    """Make an outbox fail."""

    def accept(_: Entry) -> tuple[BatchStatus, bool]:
        raise error

    monkeypatch.setattr(outbox, "accept", accept)
    return outbox


def decide(outbox: Outbox, status: Any = "stored", *problems: Problem) -> None:
    """Have the worker speak of all that waits, and wait until that is durable."""
    for each in outbox.waiting(0, 100, 1 << 30):
        done = threading.Event()
        outbox.decide(each.key, each.digest, status, problems, done.set)
        assert done.wait(20)
