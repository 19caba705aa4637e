"""Gateway and worker in one process, each on its real files, and a broker between them that does what it is told to.

Nothing happens by itself: whoever holds these says who does what next, what arrives in which order, and who dies.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

from werkzeug.test import TestResponse

from ingest_api.delivery.mqtt_link import Link, Listener
from ingest_api.delivery.publisher import Publisher
from ingest_api.gateway import new_receipts_topic
from ingest_api.http.routes import routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.ledger.dead_letters import DeadLetters
from normalizer_worker.ledger.first_seen import FirstSeenTimes
from normalizer_worker.metrics import WorkerMetrics
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.publish import Message
from normalizer_worker.recorder import Recorder
from normalizer_worker.worker import Worker
from shared.contract.acceptance import Rules
from shared.contract.status import BatchKey
from shared.domain.errors import Unavailable
from shared.http import metrics
from shared.http.app import make_app
from shared.http.token_file import access_by
from shared.store.choice import AnyStore
from tests.support.interleaving import Clock, Killed
from tests.support.outbox import ROOM

MAX_GAP_US = 86_400_000_000


class Receipt(NamedTuple):
    """One that is on its way."""

    topic: str
    payload: bytes
    correlation: bytes


class Steps:
    """Counts what is done, and has something happen after so many steps."""

    def __init__(self) -> None:
        """Begin with nothing planned."""
        self.done: list[str] = []
        self._left = -1
        self._act: Callable[[], None] = _nothing

    def plan(self, left: int, act: Callable[[], None]) -> None:
        """Have something happen after so many of the next steps; forget those that were done."""
        self.done, self._left, self._act = [], left, act

    def step(self, name: str) -> None:
        """Note that one is done."""
        self.done.append(name)
        self._left -= 1
        if self._left == 0:
            self._act()

    def count(self, owner: object, *names: str) -> None:
        """Have the end of every call of some methods count as a step."""
        for name in names:
            setattr(owner, name, self._counted(name, getattr(owner, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def counted(*args: Any, **more: Any) -> Any:
            found = call(*args, **more)
            self.step(name)
            return found

        return counted


def _nothing() -> None:
    """Do so."""


def die() -> None:
    """End here."""
    raise Killed


class Broker:
    """A broker without any storage, with a session for one worker and receipts for one gateway and all ships."""

    def __init__(self) -> None:
        """Begin without anybody."""
        self.life = 0
        """How often it has been started again."""
        self.has_session = False
        self.queue: list[Message] = []
        """What the worker has not acknowledged."""
        self.for_gateway: list[Receipt] = []
        self.for_ships: list[Receipt] = []
        self.gateway: FakeLink | None = None
        self._mid = 0

    def restart(self) -> None:
        """Forget everything, and everybody."""
        self.life += 1
        self.has_session, self.gateway = False, None
        self.queue, self.for_gateway, self.for_ships = [], [], []

    def publish(self, topic: str, payload: bytes, response_topic: str | None = None, correlation: bytes = b"") -> bool:
        """Take a message; tell whether anybody gets it."""
        self._mid += 1
        if self.has_session:
            self.queue.append(Message(topic, payload, False, 1, self._mid, response_topic, correlation))
        return self.has_session

    def answer(self, receipt: Receipt) -> None:
        """Take a receipt; a gateway without a connection does not get it, nor one that has started anew since."""
        if receipt.topic.startswith("ships/"):
            self.for_ships.append(receipt)
        elif self.gateway is not None and receipt.topic == self.gateway.receipts_topic:
            self.for_gateway.append(receipt)


class FakeLink:
    """The gateway's connection to such a broker."""

    receive_maximum = 65_535

    def __init__(self, broker: Broker, receipts_topic: str, listener: Listener) -> None:
        """Connect."""
        self._broker, self._listener = broker, listener
        self.receipts_topic = receipts_topic
        broker.gateway = self
        broker.for_gateway.clear()

    def publish(self, key: BatchKey, topic: str, payload: bytes, correlation: bytes) -> None:
        """See `Link`."""
        if self._broker.gateway is not self:
            raise Unavailable("the connection is lost")
        if not self._broker.publish(topic, payload, self.receipts_topic, correlation):
            self._listener.refused(key, "No matching subscribers")


class Gateway:
    """The gateway, without a thread that publishes by itself."""

    def __init__(self, broker: Broker, folder: Path, now_s: Clock) -> None:
        """Start with what is in a folder."""
        self._broker, self._folder, self._now_s = broker, folder, now_s
        self.outbox = Outbox(folder, ROOM)
        self._receipts_topic = new_receipts_topic()
        self._publisher = Publisher(self.outbox)
        counters = IngestMetrics(metrics.new_registry())
        ours = routes(self.outbox, counters, Rules(allow_negative=True))
        self._http = make_app(ours, access=access_by(None)).test_client()

    def close(self) -> None:
        """End."""
        self.outbox.close()

    def restarted(self) -> Self:
        """Give the one that starts after this one was killed."""
        folder = _left_by(self._folder)
        self._broker.gateway = None
        self.close()
        return type(self)(self._broker, folder, self._now_s)

    def post(self, batch: dict[str, Any]) -> TestResponse:
        """Answer a POST."""
        return self._http.post("/data", json=batch)

    def outcome(self, batch_id: str) -> str:
        """Answer a GET of what became of a batch."""
        return str(self._http.get(f"/batches/{batch_id}").get_json()["status"])

    def connect(self) -> None:
        """Connect anew, as `Dispatcher` does in its thread."""
        self._publisher = Publisher(self.outbox, now_s=self._now_s)
        self._publisher.begin(cast("Link", FakeLink(self._broker, self._receipts_topic, self._publisher)))

    def publish(self) -> None:
        """Publish what is new, and what is due to be published again."""
        if self._broker.gateway is None:
            self.connect()
        self._publisher.publish_again()
        while self._publisher.publish_some():
            pass

    def hear(self, receipt: Receipt) -> None:
        """Take a receipt, and wait until what it says is durable."""
        self._publisher.receipt(receipt.payload, receipt.correlation)
        self.outbox._queue.call(lambda _: None).result()


class Source:
    """The worker's connection to such a broker."""

    def __init__(self, broker: Broker, steps: Steps) -> None:
        """Take up the session, or begin one."""
        self._broker, self._life, self._steps = broker, broker.life, steps
        broker.has_session = True
        self._given: list[Message] = []

    def give(self, messages: Sequence[Message]) -> None:
        """Have these received next."""
        self._given = list(messages)

    def receive(self, wait_s: float) -> Message | None:  # noqa: ARG002  # nothing ever comes later
        """See `worker.Source`."""
        self._check()
        return self._given.pop(0) if self._given else None

    def kept_alive(self) -> AbstractContextManager[None]:
        """See `worker.Source`."""
        return nullcontext()

    def finish(self, done: Sequence[Done]) -> None:
        """See `worker.Source`."""
        for each in done:
            if each.receipt is not None:
                self._check()
                self._broker.answer(Receipt(each.receipt.topic, each.receipt.payload, each.receipt.correlation or b""))
                self._steps.step("receipt")
            self._check()
            self._broker.queue.remove(each.message)
            self._steps.step("acknowledgement")

    def close(self) -> None:
        """See `worker.Source`."""

    def _check(self) -> None:
        if self._broker.life != self._life:
            raise Unavailable("the connection is lost")


OpenStore = Callable[[Path], AnyStore]


class WorkerProcess:
    """The worker; of what it does any step may be the last."""

    def __init__(self, broker: Broker, folder: Path, open_store: OpenStore, now_s: Clock) -> None:
        """Start with what is in a folder."""
        self._broker, self._folder, self._open_store, self._now_s = broker, folder, open_store, now_s
        self.steps = Steps()
        self.store = open_store(folder)
        self._letters, self._first_seen = DeadLetters(folder), FirstSeenTimes(folder)
        recorder = Recorder(self.store, MAX_GAP_US)
        self.steps.count(self._first_seen, "first")
        self.steps.count(self.store, "put_readings", "put_slots")
        self.steps.count(recorder, "record")
        self.steps.count(self._letters, "keep")
        worker_metrics = WorkerMetrics(metrics.new_registry())
        self._worker = Worker(self._connect, recorder, self._letters, self._first_seen, worker_metrics)
        self.source: Source | None = None

    def _connect(self) -> Source:
        return Source(self._broker, self.steps)

    def connect(self) -> None:
        """Connect anew: what was not acknowledged comes again."""
        self.source = self._connect()

    def work(self, messages: Sequence[Message]) -> bool:
        """Take messages and do all that is to be done for them; tell whether the connection has lasted."""
        if self.source is None:
            self.connect()
        assert self.source is not None
        self.source.give(messages)
        try:
            self._worker.step(self.source)
        except Unavailable:
            self.source = None
        return self.source is not None

    def letters(self) -> list[DeadLetter]:
        """Give the dead letters."""
        return list(self._letters.all())

    def close(self) -> None:
        """End."""
        self.store.close()
        for each in (self._letters, self._first_seen):
            each.close()

    def restarted(self) -> Self:
        """Give the one that starts after this one was killed."""
        folder = _left_by(self._folder)
        self.close()
        return type(self)(self._broker, folder, self._open_store, self._now_s)


def _left_by(folder: Path) -> Path:
    """Copy what a process that is killed now leaves on the disk: files are open, and logs not written back."""
    name, _, life = folder.name.partition(".")
    copied = folder.with_name(f"{name}.{int(life or 0) + 1}")
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("*-shm", "*.lock"))
    return copied


def named(receipt: Receipt) -> str:
    """Give the name of a receipt's batch."""
    return str(json.loads(receipt.payload)["batch_id"])
