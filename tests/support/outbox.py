"""An outbox for tests, what is put into it, and a worker that says only what it is told to."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest_api.delivery.dispatcher import Dispatcher
from ingest_api.delivery.mqtt_link import Link, Listener
from ingest_api.delivery.publisher import Publisher
from ingest_api.gateway import new_receipts_topic
from ingest_api.outbox.entry import Entry
from ingest_api.outbox.outbox import Outbox
from shared.contract.status import BatchKey, BatchStatus
from shared.contract.topics import ALL_READINGS, ship_of
from shared.http.tokens import EVERYTHING, Access
from shared.runtime.mqtt_client import ANONYMOUS, Login
from tests.support.servers import HOST
from tests.support.waiting import until

ROOM = 1 << 30
SHIP = 7


def entry(
    batch_id: UUID | None = None,
    *,
    ship: int = SHIP,
    content: str = "content",
    payload: bytes | None = None,
    access: Access = EVERYTHING,
) -> Entry:
    """Make one; of its `content` the digest is made."""
    name = batch_id or uuid4()
    return Entry(name, ship, 3, content.encode(), payload or json.dumps({"batch_id": str(name)}).encode(), access)


def decide(outbox: Outbox, made: Entry, status: str = "stored", content: bytes | None = None) -> None:
    """Have an outbox told what became of an entry, and wait until that is durable."""
    done = threading.Event()
    outbox.decide(made.key, content or made.digest, status, (), done.set)  # type: ignore[arg-type]  # a literal
    assert done.wait(20)


def stored(outbox: Outbox, batch_id: UUID) -> BatchStatus | None:
    """Return the status of a batch, if it is stored."""
    batch = outbox.status(batch_id)
    return batch if batch and batch.status == "stored" else None


@contextmanager
def held(outbox: Outbox) -> Iterator[None]:
    """Hold the thread that commits: what is queued meanwhile shares the next commit."""
    is_held, release = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        is_held.set()
        assert release.wait(20)

    outbox._queue.call(hold)
    assert is_held.wait(20)
    try:
        yield
    finally:
        release.set()


@contextmanager
def dispatching(outbox: Outbox, port: int, login: Login = ANONYMOUS, **more: Any) -> Iterator[Dispatcher]:
    """Have what waits published at a broker."""
    receipts_topic = new_receipts_topic()

    def make_link(listener: Listener) -> Link:
        return Link(HOST, port, receipts_topic, listener, login)

    dispatcher = Dispatcher(lambda: Publisher(outbox, **more), make_link)
    dispatcher.start()
    try:
        yield dispatcher
    finally:
        dispatcher.close()


@contextmanager
def an_outbox(folder: Path, max_bytes: int = ROOM, **more: Any) -> Iterator[Outbox]:
    """Open an outbox for a while."""
    outbox = Outbox(folder, max_bytes, **more)
    try:
        yield outbox
    finally:
        outbox.close()


class Worker:
    """A stand-in: it gets every batch, and gives a receipt where `answers` says so."""

    def __init__(self, port: int, answers: Callable[[dict[str, Any]], str | None] = lambda _: "stored") -> None:
        """Subscribe; `answers` gives the status of the receipt for a batch, None for no receipt."""
        self.came: list[MQTTMessage] = []
        self.names: list[str] = []
        self._answers = answers
        self._client = client = Client(CallbackAPIVersion.VERSION2, "stand-in", protocol=MQTTProtocolVersion.MQTTv5)
        client.max_inflight_messages_set(0)
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_connect = lambda *_: (client.subscribe(ALL_READINGS, qos=1), None)[1]
        client.on_message = lambda _client, _userdata, message: self._take(message)
        client.reconnect_delay_set(1, 1)
        client.connect(HOST, port)
        client.loop_start()
        assert subscribed.wait(20)

    def _take(self, message: MQTTMessage) -> None:
        batch = json.loads(message.payload)
        self.came.append(message)
        self.names.append(batch["batch_id"])
        status = self._answers(batch)
        if status is not None:
            self.answer(message, batch["batch_id"], status)

    def answer(
        self,
        message: MQTTMessage,
        batch_id: str,
        status: str = "stored",
        correlation: bytes = b"",
        ship: int | None = None,
    ) -> None:
        """Give a receipt, with the Correlation Data and the ship of the message unless told otherwise."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it so
        properties.CorrelationData = correlation or message.properties.CorrelationData  # type: ignore[union-attr]
        errors = [{"at": "data[0].value", "problem": "is odd"}] if status == "rejected" else []
        ship_id = ship_of(message.topic) if ship is None else ship
        members = {"batch_id": batch_id, "spaceship_id": ship_id, "status": status, "readings": 3, "errors": errors}
        topic = message.properties.ResponseTopic  # type: ignore[union-attr]
        self._client.publish(topic, json.dumps(members).encode(), qos=1, properties=properties)

    def await_messages(self, count: int) -> None:
        """Wait until it got so many."""
        until(lambda: len(self.came) >= count, f"{count} messages at the worker")

    def close(self) -> None:
        """Leave; it has no session."""
        self._client.disconnect()
        self._client.loop_stop()


class Ear:
    """Keeps what a link tells."""

    def __init__(self) -> None:
        self.refusals: list[tuple[BatchKey, str]] = []
        self.is_lost = False

    def refused(self, key: BatchKey, why: str) -> None:
        self.refusals.append((key, why))

    def receipt(self, payload: bytes, correlation: bytes) -> None:
        """See `Listener`."""

    def dropped(self, count: float) -> None:
        """See `Listener`."""

    def lost(self) -> None:
        self.is_lost = True
