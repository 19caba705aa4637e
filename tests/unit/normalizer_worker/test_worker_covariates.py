"""Covariates at the worker: stored between the loads of other ships, receipted, and repeated without harm."""

import json
from typing import Any

import pytest

from normalizer_worker.mqtt.publish import Message
from normalizer_worker.recorder import Recorder
from shared.domain.covariates import NO_ROWS, Covariates
from shared.domain.errors import Refused, Unavailable
from shared.domain.slots import DEFAULT_MAX_GAP_US
from shared.domain.timestamps import iso, moment_us
from shared.store.memory import MemoryStore
from tests.support.worker_bench import ID, Bench, batch, finish, message, statuses

MOMENT = "2018-08-24T00:00:00Z"
SENT_US = moment_us("2025-01-01T00:00:00Z")


def table(mid: int, speed: float | None = 1.0, sent: int = 0, **members: Any) -> Message:
    """Make a message with a table of one row, or of none."""
    rows = [] if speed is None else [{"datetime": MOMENT, "speed": speed}]
    return message(mid, {"covariates": rows, "batch_id": ID, "sent_at": iso(SENT_US + sent), **members})


def test_a_table_is_stored_and_receipted_and_so_are_the_batches_around_it() -> None:
    bench = Bench(message(1, batch()), table(2), message(3, batch()))
    finish(bench)
    assert sorted(zip(bench.acknowledged, statuses(bench), strict=True)) == [(mid, "stored") for mid in (1, 2, 3)]
    (found,) = bench.covariates
    assert (found.ship, found.sent_at_us, found.table().values["speed"].tolist()) == (1, SENT_US, [1.0])
    assert bench.happened.index("covariates") < len(bench.happened) - 1 - bench.happened[::-1].index("finish")
    receipt = next(each for each in bench.receipts if each and json.loads(each.payload)["readings"] == 0)
    assert json.loads(receipt.payload)["batch_id"] == ID


def test_a_table_without_an_id_and_a_date_counts_as_sent_when_it_arrives() -> None:
    bench = Bench(table(1, batch_id=None, sent_at=None))
    finish(bench)
    assert (bench.acknowledged, bench.receipts) == ([1], [None])
    assert bench.covariates[0].sent_at_us > SENT_US


def test_a_bad_table_is_a_dead_letter() -> None:
    bench = Bench(table(1, units="kW"), table(2, spaceship_id=2), message(3, batch()))
    finish(bench)
    assert sorted(zip(bench.acknowledged, statuses(bench), strict=True)) == [
        (1, "rejected"),
        (2, "rejected"),
        (3, "stored"),
    ]
    assert len(bench.letters) == 2
    assert not bench.covariates


def test_a_refused_table_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(table(1), message(2, batch()))

    def refuse(_: Covariates) -> None:
        raise Refused("no")

    monkeypatch.setattr(bench, "put_covariates", refuse)
    finish(bench)
    assert sorted(zip(bench.acknowledged, statuses(bench), strict=True)) == [(1, "rejected"), (2, "stored")]


def test_nothing_is_acknowledged_while_the_store_is_away() -> None:
    bench = Bench(table(1))
    bench.failures.append("covariates")
    with pytest.raises(Unavailable):
        finish(bench)
    assert not bench.acknowledged
    bench.connect()
    finish(bench)
    assert bench.acknowledged == [1]
    assert len(bench.covariates) == 1


class Stored(Bench):
    """A bench whose sink is the recorder over a store in memory."""

    def __init__(self, *messages: Message) -> None:
        super().__init__(*messages)
        self.store = MemoryStore()
        self.recorder = Recorder(self.store, DEFAULT_MAX_GAP_US)

    def put_covariates(self, covariates: Covariates) -> None:
        super().put_covariates(covariates)
        self.recorder.put_covariates(covariates)


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1, 2), (3, 1, 3)])
def test_the_table_sent_last_counts_whatever_comes_late_or_again(order: tuple[int, ...]) -> None:
    bench = Stored(*[table(mid, float(sent), sent) for mid, sent in enumerate(order)])
    finish(bench)
    found = bench.store.covariates(1)
    assert found is not None
    assert (found.sent_at_us - SENT_US, found.table().values["speed"].tolist()) == (3, [3.0])
    assert set(statuses(bench)) == {"stored"}


def test_an_older_table_does_not_come_back_after_a_removal() -> None:
    bench = Stored(table(1, None, sent=5), table(2, 1.0, sent=4))
    finish(bench)
    assert bench.store.covariates(1) == Covariates(1, SENT_US + 5, NO_ROWS)
