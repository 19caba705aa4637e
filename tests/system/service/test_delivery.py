"""Whatever order things happen in, and whoever dies between: what is accepted is stored once, and nothing else is.

Hypothesis chooses what happens next to a gateway, a worker and a broker that forgets; the reference is its model.
"""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from ingest_api.delivery.publisher import Publisher
from ingest_api.outbox.outbox import Outbox
from normalizer_worker import worker as worker_module
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.worker import Worker
from shared.contract.acceptance import OLDEST_US
from shared.contract.batch import columns
from shared.contract.status import BatchKey
from shared.domain.readings import Readings
from shared.domain.slots import Slots, Window
from shared.domain.timestamps import iso
from shared.store.influx.store import InfluxStore
from shared.store.postgres.store import OnePartitionStore
from shared.store.sqlite import SqliteStore
from tests.support import reference
from tests.support.comparing import assert_same
from tests.support.delivery import MAX_GAP_US, Broker, FakeLink, Gateway, OpenStore, Receipt, WorkerProcess, die, named
from tests.support.influxdb import InfluxDb
from tests.support.interleaving import Clock, Killed
from tests.support.postgres import Postgres
from tests.support.processes import counting, stored_rows
from tests.support.reference import Reading
from tests.support.store_contract import assert_roll_ups
from tests.support.strategies import START_US

SHIPS = (1, 2)
STEP_US = 300_000_000
DATED = 4
"""So many moments there are that a batch may say it was sent at; all of them are older than any that says none."""
ROUNDS = 4
DAY_US = 86_400_000_000
IN_MEMORY = Path("/dev/shm")  # quick: what dies here is a process, and not the machine

values = st.dictionaries(st.integers(0, 8), st.integers(0, 9).map(float), min_size=1, max_size=3)
dates = st.none() | st.integers(0, DATED - 1)
choices = st.integers(0, 1_000_000)


@dataclass
class Sent:
    """A batch that somebody is sure of, sooner or later.

    Attributes:
        wire: as it is sent.
        order: its `sent_at` in the model; None before a worker has noted when it came.
        is_bad: it can never be stored.

    """

    wire: dict[str, Any]
    order: int | None
    is_bad: bool

    @property
    def name(self) -> str:
        return str(self.wire["batch_id"])

    @property
    def rows(self) -> list[Reading]:
        if self.is_bad:
            return []
        assert self.order is not None, "it was stored, and so it must have come"
        ship, is_energy = self.wire["spaceship_id"], self.wire["units"] == "kWh"
        return [
            Reading(ship, START_US + at * STEP_US, each["value"], is_energy, self.order)
            for at, each in zip(self.wire["at"], self.wire["data"], strict=True)
        ]


class Delivery(RuleBasedStateMachine):
    """What can happen."""

    def __init__(self, open_store: OpenStore) -> None:
        """Start everything with nothing in it."""
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)
        folder = Path(self._folder.name)
        for each in ("gateway", "worker"):
            (folder / each).mkdir()
        self.clock, self.broker = Clock(), Broker()
        self.gateway = Gateway(self.broker, folder / "gateway", self.clock)
        self.worker = WorkerProcess(self.broker, folder / "worker", open_store, self.clock)
        self.worker.connect()
        self.posted: dict[str, Sent] = {}
        self.sailing: dict[str, Sent] = {}
        self.waiting: set[str] = set()
        """What the gateway has accepted and no receipt has come for."""
        self.stored: set[str] = set()
        self._names = count(1)
        self._ticks = count(DATED)

    # --- what senders do

    def _batch(self, ship: int, found: dict[int, float], is_energy: bool, dated: int | None, is_bad: bool) -> Sent:  # noqa: FBT001
        data = [{"datetime": iso(START_US + at * STEP_US), "value": value} for at, value in found.items()]
        if is_bad:
            data[-1]["value"] = -1.0
        units = "kWh" if is_energy else "kW"
        name = str(UUID(int=next(self._names)))
        wire = {"spaceship_id": ship, "units": units, "batch_id": name, "data": data, "at": list(found)}
        if dated is not None:
            wire["sent_at"] = iso(OLDEST_US + dated)
        return Sent(wire, dated, is_bad)

    @rule(ship=st.sampled_from(SHIPS), found=values, is_energy=st.booleans(), dated=dates, odd=st.integers(0, 9))
    def post(self, ship: int, found: dict[int, float], is_energy: bool, dated: int | None, odd: int) -> None:  # noqa: FBT001
        """Some correct what was sent before; some are older than what they seem to correct."""
        sent = self._batch(ship, found, is_energy, dated, is_bad=odd == 0)
        if sent.order is None:
            sent.order = next(self._ticks)
        assert self.gateway.post(sent.wire).status_code == 202
        self.posted[sent.name] = sent
        self.waiting.add(sent.name)

    @precondition(lambda self: self.posted)
    @rule(choice=choices, changed=st.booleans())
    def post_again(self, choice: int, changed: bool) -> None:  # noqa: FBT001
        sent = _one(self.posted, choice)
        wire = {**sent.wire, "units": "kW" if sent.wire["units"] == "kWh" else "kWh"} if changed else sent.wire
        was_rejected = sent.is_bad and sent.name not in self.waiting
        assert self.gateway.post(wire).status_code == (409 if changed else 422 if was_rejected else 202)

    @rule(ship=st.sampled_from(SHIPS), found=values, is_energy=st.booleans(), dated=dates, odd=st.integers(0, 9))
    def sail(self, ship: int, found: dict[int, float], is_energy: bool, dated: int | None, odd: int) -> None:  # noqa: FBT001
        """A ship on MQTT, which repeats its batch in the end until it has a receipt."""
        sent = self._batch(ship, found, is_energy, dated, is_bad=odd == 0)
        self.sailing[sent.name] = sent
        self._publish(sent)

    @precondition(lambda self: self.sailing)
    @rule(choice=choices)
    def sail_again(self, choice: int) -> None:
        self._publish(_one(self.sailing, choice))

    def _publish(self, sent: Sent) -> None:
        self.broker.publish(f"ships/{sent.wire['spaceship_id']}/readings", json.dumps(sent.wire).encode())

    # --- what the gateway does

    @rule()
    def publish(self) -> None:
        self.gateway.publish()

    @rule(seconds=st.sampled_from([1.0, 40.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.s += seconds

    @precondition(lambda self: self.broker.for_gateway)
    @rule(choice=choices, kept=st.booleans())
    def hear(self, choice: int, kept: bool) -> None:  # noqa: FBT001
        """Receipts come in any order, and more than once."""
        receipt = self.broker.for_gateway[choice % len(self.broker.for_gateway)]
        if not kept:
            self.broker.for_gateway.remove(receipt)
        self._hear(receipt)

    def _hear(self, receipt: Receipt) -> None:
        self.gateway.hear(receipt)
        self.waiting.discard(named(receipt))

    @precondition(lambda self: self.waiting)
    @rule(choice=choices)
    def hear_of_other_content(self, choice: int) -> None:
        """BrokerClient has sent another batch by that name, and had it stored."""
        name = sorted(self.waiting)[choice % len(self.waiting)]
        self.gateway.hear(_stored(self.posted[name].wire["spaceship_id"], name, b"of another content"))

    @precondition(lambda self: self.waiting)
    @rule(choice=choices)
    def hear_of_another_ship(self, choice: int) -> None:
        """It has sent the same content by that name, and named the gateway's topic for the receipt."""
        name = sorted(self.waiting)[choice % len(self.waiting)]
        digests = {each.batch_id: each.digest for each in self.gateway.outbox.waiting(0, 999, 2**30)}
        self.gateway.hear(_stored(self.posted[name].wire["spaceship_id"] + 1, name, digests.get(name, b"")))

    # --- what the worker does

    @precondition(lambda self: self.broker.queue)
    @rule(order=st.randoms(use_true_random=False), limit=st.integers(1, 9))
    def work(self, order: Any, limit: int) -> None:
        self._work(self._drawn(order, limit))

    @precondition(lambda self: self.broker.queue)
    @rule(order=st.randoms(use_true_random=False), limit=st.integers(1, 9), left=st.integers(1, 12))
    def work_and_die(self, order: Any, limit: int, left: int) -> None:
        self.worker.steps.plan(left, die)
        with suppress(Killed):
            self._work(self._drawn(order, limit))
            die()
        self.worker = self.worker.restarted()

    @precondition(lambda self: self.broker.queue)
    @rule(order=st.randoms(use_true_random=False), limit=st.integers(1, 9), left=st.integers(1, 12))
    def work_while_the_broker_dies(self, order: Any, limit: int, left: int) -> None:
        self.worker.steps.plan(left, self.broker.restart)
        self._work(self._drawn(order, limit))

    def _drawn(self, order: Any, limit: int) -> list[Message]:
        """Choose what comes next, and have some of it come twice."""
        chosen: list[Message] = order.sample(self.broker.queue, min(limit, len(self.broker.queue)))
        if order.random() < 0.2:
            self.broker.publish(*chosen[0][:2], chosen[0].response_topic, chosen[0].correlation or b"")
            chosen.append(self.broker.queue[-1])
        return chosen

    def _work(self, messages: list[Message]) -> None:
        try:
            self.worker.work(messages)
        finally:
            self._note(messages)
            self.worker.steps.plan(-1, die)

    def _note(self, messages: list[Message]) -> None:
        """Learn what has become durable: when they came first, and that they are stored."""
        known = {**self.posted, **self.sailing}
        came = [known[json.loads(each.payload)["batch_id"]] for each in messages]
        done = self.worker.steps.done
        good = [each for each in came if not each.is_bad]
        for each in good:
            if each.order is None and "first" in done:
                each.order = next(self._ticks)
        if "record" in done:
            self.stored |= {each.name for each in good}

    @rule()
    def connect_worker(self) -> None:
        """Perhaps anew: what was not acknowledged comes again."""
        self.worker.connect()

    # --- who dies

    @rule()
    def kill_gateway(self) -> None:
        self.gateway = self.gateway.restarted()

    @rule()
    def kill_worker(self) -> None:
        self.worker = self.worker.restarted()

    @rule()
    def kill_broker(self) -> None:
        self.broker.restart()

    @precondition(lambda self: self.broker.gateway)
    @rule()
    def cut_gateway_off(self) -> None:
        self.broker.gateway = None
        self.broker.for_gateway.clear()

    # --- what has to be

    @invariant()
    def the_outbox_holds_what_has_no_receipt(self) -> None:
        assert self.gateway.outbox.depth == len(self.waiting)

    def check(self) -> None:
        """Compare with the reference all that is stored."""
        rows = [row for sent in self._all() if sent.name in self.stored for row in sent.rows]
        store = self.worker.store
        expected = reference.slots(rows, MAX_GAP_US)
        assert_same(Slots.concat([store.slots(ship, Window()) for ship in SHIPS]), expected)
        found = [store.readings(ship, START_US, START_US + DAY_US, 10**6) for ship in SHIPS]
        assert stored_rows(Readings.concat(found)) == counting(rows)
        assert_roll_ups(store, expected)

    def _all(self) -> Iterator[Sent]:
        yield from self.posted.values()
        yield from self.sailing.values()

    def _settle(self) -> None:
        """Have everybody do what there is to do, until all is said."""
        for _ in range(ROUNDS):
            answered = {named(each) for each in self.broker.for_ships}
            for sent in self.sailing.values():
                if sent.name not in answered:
                    self._publish(sent)
            self.gateway.publish()
            if self.worker.source is None:
                self.worker.connect()
            self._work(list(self.broker.queue))
            for receipt in self.broker.for_gateway:
                self._hear(receipt)
            self.broker.for_gateway.clear()
            self.clock.s += 10_000

    def teardown(self) -> None:
        """All of it is stored in the end."""
        try:
            self._settle()
            assert self.gateway.outbox.depth == 0
            for sent in self.posted.values():
                assert self.gateway.outcome(sent.name) == ("rejected" if sent.is_bad else "stored")
            assert {sent.name for sent in self._all() if not sent.is_bad} <= self.stored
            self.check()
            bad = {sent.name for sent in self._all() if sent.is_bad}
            assert {json.loads(each.payload)["batch_id"] for each in self.worker.letters()} == bad
        finally:
            self.gateway.close()
            self.worker.close()
            self._folder.cleanup()


def _stored(ship: int, name: str, correlation: bytes) -> Receipt:
    members = {"batch_id": name, "spaceship_id": ship, "status": "stored", "errors": []}
    return Receipt("", json.dumps(members).encode(), correlation)


def _one(sent: dict[str, Sent], choice: int) -> Sent:
    return list(sent.values())[choice % len(sent)]


def run(open_store: OpenStore, max_examples: int, **more: Any) -> None:
    """Let it happen, this often."""
    made = settings(max_examples=max_examples, stateful_step_count=40, suppress_health_check=[*HealthCheck], **more)
    run_state_machine_as_test(lambda: Delivery(open_store), settings=made)  # type: ignore[arg-type]  # a factory will do


def test_whatever_happens_what_is_accepted_is_stored_once() -> None:
    run(SqliteStore, 80)


def test_whatever_happens_what_is_accepted_is_stored_once_in_influxdb(influxdb: InfluxDb) -> None:
    databases = (influxdb.create(f"delivery{i}") for i in count())
    stores: dict[Path, str] = {}

    def open_store(folder: Path) -> InfluxStore:
        """All lives of one worker have one database."""
        home = folder.with_suffix("")
        if home not in stores:
            stores[home] = next(databases)
        return InfluxStore(influxdb.account(stores[home]), settle_s=0.01)

    run(open_store, 10)
    for each in stores.values():
        influxdb.drop(each)


def test_whatever_happens_what_is_accepted_is_stored_once_in_postgresql(postgres: Postgres) -> None:
    stores: dict[Path, str] = {}

    def open_store(folder: Path) -> OnePartitionStore:
        """All lives of one worker have one database."""
        home = folder.with_suffix("")
        if home not in stores:
            stores[home] = postgres.create()
        store = OnePartitionStore(stores[home])
        store.check_writing()
        return store

    run(open_store, 10)


# --- and it would be noticed if it were not so


def _row(outbox: Outbox, query: str, values: tuple[object, ...]) -> Any:
    return outbox._file.connection().execute(query, values).fetchone()


def removed_by_another_ships_receipt(patch: pytest.MonkeyPatch) -> None:
    decide = Outbox.decide

    def faulty(outbox: Outbox, key: BatchKey, *more: Any) -> None:
        known = _row(outbox, "SELECT ship FROM outbox WHERE batch_id = ?", (key.batch_id,))
        decide(outbox, BatchKey(known[0], key.batch_id) if known else key, *more)

    patch.setattr(Outbox, "decide", faulty)


def removed_when_published(patch: pytest.MonkeyPatch) -> None:
    publish = FakeLink.publish

    def faulty(link: FakeLink, key: BatchKey, topic: str, payload: bytes, correlation: bytes) -> None:
        publish(link, key, topic, payload, correlation)
        listener: Any = link._listener
        listener._outbox.decide(key, correlation, "stored", (), lambda: None)
        listener._outbox._queue.call(lambda _: None).result()

    patch.setattr(FakeLink, "publish", faulty)


def removed_by_any_receipt(patch: pytest.MonkeyPatch) -> None:
    decide = Outbox.decide

    def faulty(outbox: Outbox, key: BatchKey, digest: bytes, *more: Any) -> None:
        known = _row(outbox, "SELECT digest FROM outbox WHERE ship = ? AND batch_id = ?", key)
        decide(outbox, key, known[0] if known else digest, *more)

    patch.setattr(Outbox, "decide", faulty)


def forgotten_at_the_start(patch: pytest.MonkeyPatch) -> None:
    begin, started = Publisher.begin, set[Outbox]()

    def faulty(publisher: Publisher, link: Any) -> None:
        begin(publisher, link)
        if publisher._outbox not in started:
            publisher._last = max((each.number for each in publisher._outbox.waiting(0, 999, 2**30)), default=0)
        started.add(publisher._outbox)

    patch.setattr(Publisher, "begin", faulty)


def said_before_it_is_stored(patch: pytest.MonkeyPatch) -> None:
    def faulty(worker: Any, source: Any) -> int:
        load = worker._gather(source)
        if load.items:
            source.finish([each.done() for each in load.items])
            worker._store(load)
        return len(load.items)

    patch.setattr(Worker, "step", faulty)


def whatever_comes_last_counts(patch: pytest.MonkeyPatch) -> None:
    ticks = count(2**50)

    def faulty(batches: Any) -> Readings:
        return columns([each._replace(sent_at_us=next(ticks)) for each in batches])

    patch.setattr(worker_module, "columns", faulty)


@pytest.mark.parametrize(
    "plant",
    [
        removed_when_published,
        removed_by_any_receipt,
        removed_by_another_ships_receipt,
        forgotten_at_the_start,
        said_before_it_is_stored,
        whatever_comes_last_counts,
    ],
)
def test_a_fault_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, Flaky)):  # how long a pause is, is drawn by the code itself
        run(SqliteStore, 200, phases=[Phase.generate], derandomize=True, database=None)
