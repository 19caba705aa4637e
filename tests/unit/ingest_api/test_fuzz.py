"""What the gateway takes, the worker takes, too, and reads as the same; what it refuses, the worker refuses.

POWER_FUZZ_CASES says how many payloads are tried, POWER_FUZZ_SEED which.
"""

import json
import os

import numpy as np
import pytest

from ingest_api.http.intake import Intake
from ingest_api.outbox.entry import Entry
from shared.contract.acceptance import Rules
from shared.contract.batch import Batch
from shared.contract.content import digest
from shared.contract.decoding import decode, receive
from shared.contract.limits import MAX_BODY_BYTES
from shared.domain.clock import now_us
from shared.domain.errors import InvalidInput, TooLargeInput, UnreadableInput
from shared.http.tokens import EVERYTHING
from tests.support.odd_batches import OddBatches

CASES = int(os.environ.get("POWER_FUZZ_CASES", "4000"))
SEED = int(os.environ.get("POWER_FUZZ_SEED", "1"))
MEMBERS = {"spaceship_id", "units", "batch_id", "sent_at", "accepted_at", "data"}
READING_BYTES = 80


def taken(intake: Intake, payload: bytes) -> Entry | InvalidInput:
    """Give what the gateway makes of a payload."""
    try:
        return intake.entry(payload, EVERYTHING)
    except InvalidInput as error:
        return error


def published(payload: bytes, rules: Rules, ship: int) -> Batch | InvalidInput:
    """Give what the worker makes of one."""
    try:
        return decode(payload, rules, now_us(), topic_ship=ship)
    except InvalidInput as error:
        return error


def assert_same(entry: Entry, payload: bytes, rules: Rules) -> None:
    """Compare what is published with what was sent."""
    sent = receive(payload, rules, now_us()).batch
    batch = published(entry.payload, rules, entry.ship)
    assert isinstance(batch, Batch), batch.problems
    assert (
        (batch.ship, batch.units, batch.received)
        == (sent.ship, sent.units, sent.received)
        == (
            entry.ship,
            sent.units,
            entry.readings,
        )
    )
    assert batch.batch_id == entry.batch_id == (sent.batch_id or entry.batch_id)
    is_named = sent.batch_id is not None and sent.sent_at_us is None  # the worker then takes `accepted_at`
    if sent.batch_id is not None:
        assert digest(batch) == entry.digest, "a repeat at another gateway is no other content"
    assert batch.sent_at_us == (None if is_named else sent.sent_at_us or batch.sent_at_us)
    np.testing.assert_array_equal(batch.moment_us, sent.moment_us)
    assert batch.value.tobytes() == sent.value.tobytes()
    members = json.loads(entry.payload)
    assert set(members) == (MEMBERS - {"sent_at"} if is_named else MEMBERS)
    assert {name for reading in members["data"] for name in reading} == {"datetime", "value"}
    assert len(entry.payload) <= 300 + READING_BYTES * entry.readings


def assert_refused(refusal: InvalidInput, payload: bytes, rules: Rules) -> None:
    """Hold a refusal against the worker's, of the same payload on the topic of its ship."""
    assert 1 <= len(refusal.problems) <= 100
    if any(each.at in {"body", "spaceship_id"} for each in refusal.problems):
        assert isinstance(published(payload, rules, 7), InvalidInput) or refusal.problems[0].at == "spaceship_id"
        return
    told = published(payload, rules, json.loads(payload)["spaceship_id"])
    assert isinstance(told, InvalidInput)
    assert type(told) is type(refusal)
    assert [each.at for each in told.problems] == [each.at for each in refusal.problems]


@pytest.mark.parametrize("allow_negative", [False, True])
def test_gateway_and_worker_read_the_same(allow_negative: bool) -> None:  # noqa: FBT001
    """Whatever comes, nothing but `InvalidInput` comes out."""
    rules = Rules(allow_negative=allow_negative)
    intake, batches = Intake(rules), OddBatches(SEED + allow_negative)
    kinds = {Entry: 0, UnreadableInput: 0, InvalidInput: 0}
    for _ in range(CASES // 2):
        payload = batches.payload()
        made = taken(intake, payload)
        if isinstance(made, Entry):
            assert_same(made, payload, rules)
            kinds[Entry] += 1
        else:
            assert not isinstance(made, TooLargeInput)
            assert_refused(made, payload, rules)
            kinds[UnreadableInput if isinstance(made, UnreadableInput) else InvalidInput] += 1
    assert all(count > CASES / 200 for count in kinds.values()), kinds


def test_the_largest_batch_is_published_within_the_limit() -> None:
    """However short it was written: 100,000 readings whose values take more digits than were sent."""
    longest = '{"datetime":"20190105T043700.123456","value":%s}'
    for value in ("-1.2345678901234567e-300", "1E11", "-5e-324", "999999999999.9999"):
        rows = ",".join([longest % value] * 100_000)
        payload = f'{{"spaceship_id":9007199254740991,"units":"kWh","data":[{rows}]}}'.encode()
        assert len(payload) <= MAX_BODY_BYTES
        entry = Intake(Rules(allow_negative=True)).entry(payload, EVERYTHING)
        assert len(entry.payload) <= 300 + READING_BYTES * 100_000 <= MAX_BODY_BYTES
