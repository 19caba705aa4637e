"""Batches of one of several gateways: when they count as sent, and who has a `batch_id`."""

import json
from typing import Any
from uuid import UUID

import pytest

from ingest_api.http.intake import Intake
from ingest_api.http.schemas import DeletionParameters
from normalizer_worker.load import Item, Limits, read_item
from normalizer_worker.mqtt.publish import Message
from shared.contract.acceptance import CLOCKS_APART_US, Rules
from shared.contract.decoding import receive
from shared.contract.status import already_used
from shared.domain.errors import Refused, Unavailable
from shared.domain.readings import Readings
from shared.http.tokens import EVERYTHING
from tests.support.first_seen import MemoryFirstSeen, NamesContract, Reopen
from tests.support.worker_bench import Bench, batch, worker

NOW_US = 1_735_689_600_000_000  # 2025-01-01T00:00:00Z
MINUTE_US = 60_000_000
ID = UUID(int=7)


def message(accepted_us: int, value: int = 1) -> Message:
    """Return what a gateway publishes."""
    data = [{"datetime": "2024-01-05T04:30:00Z", "value": value}]
    received = receive(json.dumps({"spaceship_id": 42, "units": "kW", "data": data}).encode(), Rules(), NOW_US)
    return Message("ships/42/readings", received.message(ID, None, accepted_us), retained=False, qos=1, mid=1)


def item(accepted_us: int, value: int = 1, *, several_gateways: bool = True) -> Item:
    """Return how the worker reads it."""
    found = read_item(message(accepted_us, value), Rules(), NOW_US, several_gateways=several_gateways)
    assert found.letter is None
    return found


@pytest.mark.parametrize("ago_us", [0, 1, MINUTE_US, -MINUTE_US])
def test_it_counts_as_sent_when_it_was_accepted(ago_us: int) -> None:
    found = item(NOW_US - ago_us)
    assert found.valid.sent_at_us == NOW_US - ago_us
    assert found.lag_s == ago_us / 1e6


def test_it_is_not_sent_far_ahead_of_the_clock() -> None:
    """A ship may write `accepted_at`, too: what it sends can still be corrected."""
    assert item(NOW_US + 10 * CLOCKS_APART_US).valid.sent_at_us == NOW_US + CLOCKS_APART_US


PLAIN = {"spaceship_id": 42, "units": "kW", "data": [{"datetime": "2024-01-05T04:30:00Z", "value": 1}]}
DATED = "2024-06-01T00:00:00Z"


def sent(**members: Any) -> Message:
    """Return what a gateway publishes of a batch, `batch_id` and all, to which a client gave these members."""
    entry = Intake(Rules()).entry(json.dumps({**PLAIN, "batch_id": str(ID), **members}).encode(), EVERYTHING)
    return Message(f"ships/{entry.ship}/readings", entry.payload, retained=False, qos=1, mid=1)


def deleted(start: str = "2024-01-05T04:30:00Z", batch_id: UUID | None = ID) -> Message:
    """Return what a gateway publishes of a deletion."""
    end = "2024-01-06T00:00:00Z"
    asked = DeletionParameters.model_validate({"spaceship_id": "42", "start": start, "end": end, "batch_id": batch_id})
    entry = Intake(Rules()).deletion(asked, EVERYTHING)
    return Message("ships/42/readings", entry.payload, retained=False, qos=1, mid=1)


def looked_up(message: Message) -> tuple[bytes, bytes] | None:
    """Return key and content that one of several gateways' batch is looked up by."""
    seen = read_item(message, Rules(), NOW_US * 2, several_gateways=True).seen
    return seen and (seen.key, seen.content)


READING = {"datetime": "2024-01-05T04:30:00Z", "value": 1}


@pytest.mark.parametrize(
    "again",
    [
        {},
        {"data": [{"datetime": "2024-01-05T05:30:00+01:00", "value": "1.0"}]},
        {"data": [READING, READING], "note": "ignored"},
        {"batch_id": str(ID).upper()},
    ],
    ids=["the same", "written in another way", "repeated reading", "capitals"],
)
@pytest.mark.parametrize("date", [{}, {"sent_at": DATED}], ids=["undated", "dated"])
def test_a_repeat_at_another_gateway_has_the_same_key_and_content(again: dict[str, Any], date: dict[str, Any]) -> None:
    found = looked_up(sent(**date))
    assert found is not None
    assert looked_up(sent(**date, **again)) == found


@pytest.mark.parametrize(
    "other",
    [
        {"units": "kWh"},
        {"sent_at": DATED},
        {"max_gap_s": 900},
        {"data": [{**READING, "value": 2}]},
        {"data": [{**READING, "datetime": "2024-01-05T04:31:00Z"}]},
        {"data": [READING, {**READING, "datetime": "2024-01-05T04:31:00Z"}]},
    ],
    ids=str,
)
def test_other_content_has_the_same_key_only(other: dict[str, Any]) -> None:
    found, again = looked_up(sent()), looked_up(sent(**other))
    assert found is not None
    assert again is not None
    assert again[0] == found[0]
    assert again[1] != found[1]


@pytest.mark.parametrize("other", [{"spaceship_id": 43}, {"batch_id": str(UUID(int=8))}], ids=str)
def test_another_ship_or_batch_id_has_another_key(other: dict[str, Any]) -> None:
    found, again = looked_up(sent()), looked_up(sent(**other))
    assert found is not None
    assert again is not None
    assert again[0] != found[0]


def test_a_deletion_has_its_batch_id_like_a_batch() -> None:
    """A repeat is the same whenever it is accepted; another span, or a batch, is not."""
    found = looked_up(deleted())
    assert found is not None
    assert looked_up(deleted()) == found
    for other in (looked_up(deleted("2024-01-05T04:45:00Z")), looked_up(sent())):
        assert other is not None
        assert other[0] == found[0]
        assert other[1] != found[1]


@pytest.mark.parametrize("message", [sent(batch_id=None), deleted(batch_id=None)], ids=["batch", "deletion"])
def test_what_its_client_has_not_named_is_not_looked_up(message: Message) -> None:
    """Nobody can send its `batch_id` again."""
    assert looked_up(message) is None


def test_a_single_gateway_knows_its_repeats_itself() -> None:
    for message in (sent(), sent(sent_at=DATED), deleted()):
        assert read_item(message, Rules(), NOW_US * 2).seen is None


def test_a_message_of_no_gateway_is_another_batch_if_its_content_is() -> None:
    """Over MQTT a repeat is the same bytes, and a `batch_id` may be used again, as with a single gateway."""
    message = Message("ships/1/readings", json.dumps(batch()).encode(), retained=False, qos=1, mid=1)
    other = message._replace(payload=json.dumps(batch(2)).encode())
    found = looked_up(message)
    assert found is not None
    assert found[1] == b""
    assert looked_up(other) not in {found, None}
    dated = message._replace(payload=json.dumps(batch(sent_at=DATED)).encode())
    assert looked_up(dated) is None


class TestMemoryFirstSeen(NamesContract):
    """The double of the tests keeps the contract, too."""

    @pytest.fixture
    def reopen(self) -> Reopen:
        """Return how to open it."""
        known: dict[bytes, tuple[int, bytes]] = {}
        return lambda: MemoryFirstSeen(known)


# --- what the worker does with them


def receipts(bench: Bench) -> list[tuple[str, list[Any]]]:
    said = [json.loads(each.payload) for each in bench.receipts if each]
    return [(each["status"], each["errors"]) for each in said]


STORED: tuple[str, list[Any]] = ("stored", [])
REJECTED = ("rejected", [{"at": "body", "problem": already_used(ID).summary}])


def stored(bench: Bench) -> list[float]:
    return [each for readings in bench.readings for each in readings.value.tolist()]


def load(*messages: Message) -> Bench:
    return Bench(*[each._replace(mid=number) for number, each in enumerate(messages, 1)])


@pytest.mark.parametrize("limits", [Limits(), Limits(messages=1)], ids=["one load", "a load each"])
@pytest.mark.parametrize("date", [{}, {"sent_at": DATED}], ids=["undated", "dated"])
def test_other_content_of_a_batch_id_is_rejected_and_nothing_of_it_is_stored(
    limits: Limits, date: dict[str, Any]
) -> None:
    first, other = sent(**date), sent(**date, data=[{**READING, "value": 2}])
    bench = load(first, other, first, other)
    one = worker(bench, limits, several_gateways=True)
    while one.step(bench):
        pass
    assert receipts(bench) == [STORED, REJECTED, STORED, REJECTED]
    assert stored(bench) == [1, 1]
    assert [each.reason for each in bench.letters] == [already_used(ID).summary] * 2
    assert bench.acknowledged == [1, 2, 3, 4]


def test_a_batch_that_was_not_stored_before_a_crash_is_stored_when_it_comes_again() -> None:
    bench = load(sent(), sent(data=[{**READING, "value": 2}]))
    bench.failures.append("record")
    one = worker(bench, several_gateways=True)
    with pytest.raises(Unavailable):
        one.step(bench)
    assert bench.acknowledged == []
    one.step(bench.connect())
    assert receipts(bench) == [STORED, REJECTED]
    assert stored(bench) == [1]


def test_an_invalid_batch_does_not_take_its_batch_id() -> None:
    """Another gateway may accept what this worker rejects."""
    refused = Intake(Rules(allow_negative=True)).entry(
        json.dumps({**PLAIN, "batch_id": str(ID), "data": [{**READING, "value": -1}]}).encode(), EVERYTHING
    )
    bench = load(sent()._replace(payload=refused.payload), sent())
    worker(bench, several_gateways=True).step(bench)
    assert [status for status, _ in receipts(bench)] == ["rejected", "stored"]


def test_a_batch_that_the_store_refuses_keeps_its_batch_id() -> None:
    """As at a single gateway, which has accepted it."""
    bench = load(sent(), sent(data=[{**READING, "value": 2}]))

    def refuse(readings: Readings) -> Readings | None:
        raise Refused(f"nobody takes {len(readings)}")

    bench.record = refuse  # type: ignore[method-assign]
    worker(bench, several_gateways=True).step(bench)
    assert [status for status, _ in receipts(bench)] == ["rejected", "rejected"]
    assert receipts(bench)[1] == REJECTED


def test_a_deletion_with_the_batch_id_of_a_batch_deletes_nothing() -> None:
    bench = load(sent(), deleted())
    one = worker(bench, several_gateways=True)
    while one.step(bench):
        pass
    assert (receipts(bench), bench.deleted) == ([STORED, REJECTED], [])


def test_a_deletion_that_comes_again_counts_as_sent_when_it_first_came() -> None:
    """Else it would delete what was sent in between."""
    bench = load(deleted(), deleted())
    one = worker(bench, several_gateways=True)
    while one.step(bench):
        pass
    assert receipts(bench) == [STORED, STORED]
    assert len({sent_at_us for *_, sent_at_us in bench.deleted}) == 1
