"""The dispatcher against a real broker: what waits arrives, whatever happens to broker, worker and connection."""

import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from ingest_api.delivery import dispatcher as dispatcher_module
from ingest_api.delivery import in_flight, mqtt_link
from ingest_api.delivery import publisher as publisher_module
from ingest_api.delivery.dispatcher import Dispatcher
from ingest_api.delivery.in_flight import AGAIN_S, LATEST_S, MAX_BATCHES, SHIP_BATCHES
from ingest_api.delivery.publisher import Publisher
from ingest_api.http.routes import routes
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from shared.contract.topics import readings_topic
from shared.http.app import make_app
from shared.http.tokens import anybody
from tests.support.bad_batches import text
from tests.support.outbox import SHIP, Worker, dispatching, entry, stored
from tests.support.servers import Broker, ForgetfulBroker, started
from tests.support.waiting import until

NEVER_S = 3600
"""Nothing here waits for so long."""


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.s = 0.0

    def now_s(self) -> float:
        return self.s


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[ForgetfulBroker]:
    with started(ForgetfulBroker(tmp_path / "broker")) as broker:
        yield broker


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(publisher_module, "CHECK_S", 0.02)
    monkeypatch.setattr(dispatcher_module, "LAST_PAUSE_S", 0.1)
    monkeypatch.setattr(in_flight, "REFUSED_AGAIN_S", 0.05)
    monkeypatch.setattr(in_flight, "REFUSED_LATEST_S", 0.2)


def publisher_of(dispatcher: Dispatcher) -> Publisher:
    """Return the publisher of the current connection."""
    assert dispatcher._publisher is not None
    return dispatcher._publisher


def accept(outbox: Outbox, **more: object) -> UUID:
    made = entry(**more)  # type: ignore[arg-type]  # passed on
    outbox.accept(made)
    return made.batch_id


def await_empty(outbox: Outbox, deadline_s: float = 20) -> None:
    until(lambda: outbox.depth == 0, "all is stored", deadline_s)


def await_end(dispatcher: Dispatcher) -> None:
    """Have it end, however slow this machine is."""
    closing = threading.Thread(target=dispatcher.close)
    closing.start()
    until(lambda: not closing.is_alive(), "it ends")


def test_what_is_accepted_is_published_and_gone_with_its_receipt(outbox: Outbox, broker: Broker) -> None:
    worker = Worker(broker.port)
    with dispatching(outbox, broker.port) as dispatcher:
        until(dispatcher.is_connected, "connected")
        name = accept(outbox, content="this")
        until(lambda: stored(outbox, name), "stored")
        (message,) = worker.came
        assert (message.topic, message.qos) == (readings_topic(SHIP), 1)
        assert getattr(message.properties, "CorrelationData", None) == b"this".hex().encode()
        assert re.fullmatch("gateways/[0-9a-f]{32}/receipts", getattr(message.properties, "ResponseTopic", ""))
        assert len(publisher_of(dispatcher)._in_flight) == 0
    worker.close()


def test_a_rejected_batch_is_gone_too_and_it_is_known_why(outbox: Outbox, broker: Broker) -> None:
    worker = Worker(broker.port, lambda _: "rejected")
    with dispatching(outbox, broker.port):
        name = accept(outbox)
        await_empty(outbox)
        batch = outbox.status(name)
        assert batch is not None
        assert (batch.status, [each.at for each in batch.problems]) == ("rejected", ["data[0].value"])
    worker.close()


def test_what_waits_at_the_start_is_published(outbox: Outbox, broker: Broker) -> None:
    names = [accept(outbox) for _ in range(10)]
    worker = Worker(broker.port)
    with dispatching(outbox, broker.port):
        await_empty(outbox)
    assert worker.names == [str(each) for each in names], "once, and in their order"
    worker.close()


def test_without_a_worker_it_waits_until_one_comes(outbox: Outbox, broker: Broker) -> None:
    """The broker throws such a message away, and confirms it all the same (0x10)."""
    with dispatching(outbox, broker.port) as dispatcher:
        names = [accept(outbox) for _ in range(3)]
        until(lambda: "No matching subscribers" in publisher_of(dispatcher)._last_refusal, "refused")
        assert dispatcher.is_connected()
        assert outbox.depth == 3
        worker = Worker(broker.port)
        await_empty(outbox)
        assert {str(each) for each in names} == set(worker.names)
    worker.close()


def test_a_broker_that_is_killed_and_has_forgotten_all_costs_nothing(outbox: Outbox, broker: Broker) -> None:
    """What it had confirmed and not delivered is published again."""
    silent = Worker(broker.port, lambda _: None)
    with dispatching(outbox, broker.port) as dispatcher:
        names = [accept(outbox) for _ in range(20)]
        silent.await_messages(20)
        broker.send_signal(signal.SIGKILL)
        until(lambda: not dispatcher.is_connected(), "the gateway notices")
        names.append(accept(outbox))  # accepted while it is away
        silent.close()
        broker.stop()
        broker.start()
        worker = Worker(broker.port)
        await_empty(outbox)
        assert {str(each) for each in names} <= set(worker.names)
    worker.close()


def test_what_gets_no_receipt_is_published_again_less_and_less_often(outbox: Outbox, broker: Broker) -> None:
    clock, worker = Clock(), Worker(broker.port, lambda _: None)
    with dispatching(outbox, broker.port, now_s=clock.now_s) as dispatcher:
        name = accept(outbox)
        worker.await_messages(1)
        pauses: list[float] = []
        for count in range(2, 8):
            before_s = clock.s
            while len(worker.came) < count:
                clock.s += 0.05 * AGAIN_S * 3 ** min(count - 2, 4)
                looks = threading.Event()
                publisher_of(dispatcher).accepted()
                looks.wait(0.05)
            pauses.append(clock.s - before_s)
        assert 0.8 * AGAIN_S <= pauses[0] <= 2 * AGAIN_S
        assert pauses == sorted(pauses)
        assert pauses[-1] <= 2 * LATEST_S
        worker.answer(worker.came[0], str(name))
        await_empty(outbox)
    worker.close()


def test_a_receipt_for_other_content_removes_nothing(outbox: Outbox, broker: Broker) -> None:
    """And the batch is published again, as one is that has no receipt."""
    clock, worker = Clock(), Worker(broker.port, lambda _: None)
    with dispatching(outbox, broker.port, now_s=clock.now_s):
        name = accept(outbox, content="this")
        other = accept(outbox)
        worker.await_messages(2)
        worker.answer(worker.came[0], str(name), correlation=b"that")
        worker.answer(worker.came[1], str(other))
        until(lambda: stored(outbox, other), "the other is stored")
        assert outbox.depth == 1
        assert not stored(outbox, name)
        clock.s += 2 * AGAIN_S
        worker.await_messages(3)
        assert worker.names[2] == str(name)
    worker.close()


def test_a_receipt_of_another_ship_removes_nothing(outbox: Outbox, broker: Broker) -> None:
    """It has had the same batch stored as its own, and named the gateway's topic for the receipt."""
    worker = Worker(broker.port, lambda _: None)
    with dispatching(outbox, broker.port):
        name = accept(outbox)
        worker.await_messages(1)
        (message,) = worker.came
        worker.answer(message, str(name), ship=SHIP + 1)
        other = accept(outbox)
        worker.await_messages(2)
        worker.answer(worker.came[1], str(other))
        until(lambda: stored(outbox, other), "the other is stored")
        assert not stored(outbox, name)
        worker.answer(message, str(name))
        until(lambda: stored(outbox, name), "stored, too")
    worker.close()


def test_receipts_come_on_another_topic_after_each_start(outbox: Outbox, broker: Broker) -> None:
    """One that is on its way to the old one is lost, and the batch is published again."""
    worker = Worker(broker.port, lambda _: None)
    with dispatching(outbox, broker.port):
        name = accept(outbox)
        worker.await_messages(1)
    with dispatching(outbox, broker.port):
        worker.await_messages(2)
        topics = {each.properties.ResponseTopic for each in worker.came}  # type: ignore[union-attr]
        assert len(topics) == 2
        worker.answer(worker.came[0], str(name))
        worker.answer(worker.came[1], str(name))
        await_empty(outbox)
    worker.close()


def test_another_ships_batch_is_published_and_stored_before_thousands_of_one_ship(
    outbox: Outbox, broker: Broker
) -> None:
    """The worker gives no receipt for these, so they fill what one ship may have under way."""
    many = [accept(outbox, ship=SHIP) for _ in range(2000)]
    worker = Worker(broker.port, lambda batch: "stored" if batch.get("spaceship_id") == SHIP + 1 else None)
    app = make_app(routes(outbox, IngestMetrics(CollectorRegistry())), access=anybody)
    with dispatching(outbox, broker.port) as dispatcher:
        worker.await_messages(SHIP_BATCHES)
        response = app.test_client().post(
            "/data",
            data=text(spaceship_id=str(SHIP + 1)),
            headers={"Content-Type": "application/json", "Prefer": "wait=20"},
        )
        assert response.status_code == 201
        assert outbox.depth == len(many)
        assert len(worker.came) == SHIP_BATCHES + 1
        worker._answers = lambda _: "stored"
        for message, name in zip(list(worker.came[:-1]), list(worker.names[:-1]), strict=True):
            worker.answer(message, name)
        await_empty(outbox)
        assert [name for name in worker.names if name != response.json["batch_id"]] == [str(each) for each in many]  # type: ignore[index]
        assert not publisher_of(dispatcher)._backlog
    worker.close()


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"batch_id": "x"}', b"\xff", b"[" * 100_000])
def test_a_receipt_that_cannot_be_read_costs_nothing(outbox: Outbox, broker: Broker, payload: bytes) -> None:
    """Neither does one without Correlation Data."""
    worker = Worker(broker.port, lambda _: None)
    with dispatching(outbox, broker.port) as dispatcher:
        name = accept(outbox)
        worker.await_messages(1)
        topic = worker.came[0].properties.ResponseTopic  # type: ignore[union-attr]
        worker._client.publish(topic, payload, qos=1)
        bare = b'{"batch_id": "%s", "spaceship_id": %d, "status": "stored"}' % (str(name).encode(), SHIP)
        worker._client.publish(topic, bare, qos=1)
        other = accept(outbox)
        worker.await_messages(2)
        worker.answer(worker.came[1], str(other))
        until(lambda: stored(outbox, other), "the other is stored")
        assert dispatcher.is_connected()
        assert not stored(outbox, name)
    worker.close()


def test_a_fault_in_the_connections_thread_ends_the_connection_and_not_the_gateway(
    outbox: Outbox, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paho alone would end its thread in silence, and go on saying that it is connected."""
    worker, faults = Worker(broker.port), iter([RuntimeError("a fault of ours")])
    decide = outbox.decide

    def faulty(*arguments: object) -> None:
        for each in faults:
            raise each
        decide(*arguments)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(outbox, "decide", faulty)
    with dispatching(outbox, broker.port):
        accept(outbox)
        await_empty(outbox)
    assert len(worker.came) == 2
    worker.close()


def test_a_fault_in_the_dispatchers_own_thread_does_not_end_it(
    outbox: Outbox, broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker, faults = Worker(broker.port), iter([RuntimeError("a fault of ours")])
    waiting = outbox.waiting

    def faulty(*arguments: Any) -> object:
        for each in faults:
            raise each
        return waiting(*arguments)

    monkeypatch.setattr(outbox, "waiting", faulty)
    with dispatching(outbox, broker.port):
        accept(outbox)
        await_empty(outbox)
    assert "a fault of ours" in caplog.text
    worker.close()


def test_in_flight_is_bounded(outbox: Outbox, broker: Broker) -> None:
    silent = Worker(broker.port, lambda _: None)
    names = [str(accept(outbox, ship=ship)) for ship in range(2 * MAX_BATCHES)]
    with dispatching(outbox, broker.port) as dispatcher:
        silent.await_messages(MAX_BATCHES)
        until(lambda: len(publisher_of(dispatcher)._in_flight) == MAX_BATCHES, "no more may be in flight")
        last = names[MAX_BATCHES - 1]
        assert silent.names.index(last) == MAX_BATCHES - 1
        assert len(silent.came) == MAX_BATCHES
        silent._answers = lambda _: "stored"
        for message, name in zip(list(silent.came), list(silent.names), strict=True):
            silent.answer(message, name)
        await_empty(outbox)
        assert silent.names == names, "each of them once"
    silent.close()


def test_of_large_ones_fewer_are_under_way(outbox: Outbox, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many bytes as the window has, and one in any case."""
    monkeypatch.setattr(in_flight, "MAX_BYTES", 1_000_000)
    silent = Worker(broker.port, lambda _: None)
    for _ in range(20):
        made = entry()
        accept(
            outbox, payload=(b'{"batch_id": "%s"}' % str(made.batch_id).encode()).ljust(300_000), batch_id=made.batch_id
        )
    with dispatching(outbox, broker.port) as dispatcher:
        silent.await_messages(4)
        until(lambda: len(publisher_of(dispatcher)._in_flight) == 4, "no more may be in flight")
        silent._answers = lambda _: "stored"
        for message, name in zip(list(silent.came), list(silent.names), strict=True):
            silent.answer(message, name)
        await_empty(outbox)
        assert len(silent.came) == 20
    silent.close()


def test_a_batch_that_the_broker_cannot_take_stalls_no_other(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Sent all the same, it would end the connection, again and again. With the limit raised it arrives."""
    broker = ForgetfulBroker(tmp_path / "small")
    broker.more = "max_packet_size 20000"
    broker.start()
    made = entry()
    accept(outbox, payload=(b'{"batch_id": "%s"}' % str(made.batch_id).encode()).ljust(30_000), batch_id=made.batch_id)
    others = [accept(outbox) for _ in range(5)]
    worker = Worker(broker.port)
    with dispatching(outbox, broker.port) as dispatcher:
        for each in others:
            until(lambda each=each: stored(outbox, each), "the others are stored")  # type: ignore[misc]
        assert dispatcher.is_connected()
        assert outbox.depth == 1
        assert "no more than 20000 bytes" in caplog.text
        worker.close()
        broker.stop()
        broker.more = ""
        broker.start()
        worker = Worker(broker.port)
        await_empty(outbox)
    worker.close()
    broker.stop()


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_it_ends_though_the_broker_hangs(
    outbox: Outbox, broker: Broker, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """With nothing on its way, and with much that the broker does not read."""
    monkeypatch.setattr(mqtt_link, "KEEPALIVE_S", NEVER_S)
    worker = Worker(broker.port, lambda _: None)
    with dispatching(outbox, broker.port) as dispatcher:
        until(dispatcher.is_connected, "connected")
        broker.send_signal(signal.SIGSTOP)
        try:
            for ship in range(5):
                accept(outbox, ship=ship, payload=b'{"batch_id": ""}'.ljust(size))
            until(lambda: len(publisher_of(dispatcher)._in_flight) == 5, "on their way")
            await_end(dispatcher)
        finally:
            broker.send_signal(signal.SIGCONT)
    assert outbox.depth == 5
    worker.close()


def test_it_ends_though_the_broker_does_not_even_greet(
    outbox: Outbox, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt_link, "HANDSHAKE_S", NEVER_S)
    monkeypatch.setattr(mqtt_link, "KEEPALIVE_S", NEVER_S)
    broker.send_signal(signal.SIGSTOP)
    try:
        with dispatching(outbox, broker.port) as dispatcher:
            until(lambda: dispatcher._link is not None and dispatcher._link._is_open, "it waits for a word")
            await_end(dispatcher)
    finally:
        broker.send_signal(signal.SIGCONT)


def test_what_is_new_is_published_without_waiting_for_the_next_look(
    outbox: Outbox, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "CHECK_S", NEVER_S)
    worker = Worker(broker.port)
    with dispatching(outbox, broker.port):
        for _ in range(3):
            name = accept(outbox)
            until(lambda name=name: stored(outbox, name), "stored")  # type: ignore[misc]
    worker.close()
