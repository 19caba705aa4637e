"""What the broker drops in silence, it tells on a topic of its own; the gateway hears it, where it may."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.publish as paho
import pytest
from paho.mqtt.client import MQTTMessage
from prometheus_client import CollectorRegistry

from ingest_api.delivery.dispatcher import Dispatcher
from ingest_api.delivery.in_flight import AGAIN_S, JITTER
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox.outbox import Outbox
from normalizer_worker.mqtt.broker_metrics import DROPS_SHOW_S, BrokerMetrics
from normalizer_worker.mqtt.session import Connection
from power_cli import mosquitto
from shared.contract.topics import ALL_READINGS, DROPPED
from tests.support.outbox import Worker, dispatching, entry, stored
from tests.support.servers import HOST, Broker, started
from tests.support.waiting import until

QUEUED = 2


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the broker is configured from: a queue that is soon full, told every second."""
    path = tmp_path / "local.conf"
    text = mosquitto.TEMPLATE.read_text("utf-8")
    usual = "max_queued_messages 100000\n"
    assert usual in text
    path.write_text(text.replace(usual, f"max_queued_messages {QUEUED}\n") + "sys_interval 1\n")
    monkeypatch.setattr(mosquitto, "TEMPLATE", path)
    return path


@pytest.fixture
def broker(conf: Path, tmp_path: Path) -> Iterator[Broker]:  # noqa: ARG001  # configured from it
    with started(Broker(tmp_path / "broker")) as broker:
        yield broker


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def gateway(broker: Broker, outbox: Outbox, registry: CollectorRegistry) -> Iterator[Dispatcher]:
    with dispatching(outbox, broker.port, on_dropped=IngestMetrics(registry).dropped.set) as gateway:
        until(gateway.is_connected, "the gateway is connected")
        yield gateway


def dropped(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("power_broker_dropped_messages")


def test_until_the_broker_tells_it_is_not_known_which_is_not_0() -> None:
    registry = CollectorRegistry()
    IngestMetrics(registry)
    assert math.isnan(dropped(registry) or 0)


@pytest.mark.usefixtures("gateway")
def test_what_a_full_queue_drops_is_told(broker: Broker, outbox: Outbox, registry: CollectorRegistry) -> None:
    until(lambda: dropped(registry) == 0, "the broker tells that it dropped none")
    Connection(HOST, broker.port, "test-worker", ALL_READINGS, 100).close()
    for _ in range(QUEUED + 3):
        outbox.accept(entry())
    until(lambda: dropped(registry) == 3, "the broker tells that it dropped three")
    assert outbox.depth == QUEUED + 3, "and they wait, nevertheless"


def test_what_may_be_dropped_is_published_again_soon(broker: Broker, outbox: Outbox) -> None:
    """And not only when it has been without a receipt for long; but less and less often while the queue is full."""
    now_s = [0.0]
    said = CollectorRegistry()
    Connection(HOST, broker.port, "stand-in", ALL_READINGS, 100).close()
    with dispatching(outbox, broker.port, on_dropped=IngestMetrics(said).dropped.set, now_s=lambda: now_s[0]):
        until(lambda: dropped(said) == 0, "the broker tells that it dropped none")
        for _ in range(QUEUED + 3):
            outbox.accept(entry())
        until(lambda: dropped(said) == 3, "the broker tells that it dropped three")
        now_s[0] += 2.0
        until(lambda: dropped(said) == 3 + QUEUED + 3, "all are published again, and dropped: the queue is still full")
        worker = Worker(broker.port)
        now_s[0] += 4.0
        until(lambda: outbox.depth == 0, "all are stored")
    worker.close()
    assert now_s[0] < AGAIN_S * (1 - JITTER)


def test_the_worker_shows_for_a_minute_that_messages_were_dropped(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """A ship's may be gone for good; what was dropped before the worker heard of it for the first time is not news."""
    clock_s = [0.0]
    told = BrokerMetrics(CollectorRegistry(), lambda: clock_s[0])

    def connected() -> Connection:
        return Connection(HOST, broker.port, "test-worker", ALL_READINGS, 100, told=told)

    def is_well() -> bool:
        return told.checks()["queue"]()

    def is_red(connection: Connection) -> bool:
        connection.receive(0.01)
        return not is_well()

    connection = connected()
    until(lambda: connection.receive(0.01) or told._dropped == 0, "the broker tells that it dropped none")
    connection.close()
    assert is_well()
    for _ in range(QUEUED + 3):
        paho.single("ships/1/readings", b"x", qos=1, hostname=HOST, port=broker.port)
    connection = connected()
    until(lambda: is_red(connection), "the worker hears of it")
    assert re.search("has dropped [34] messages", caplog.text), "perhaps one that it sent to itself, too"
    clock_s[0] += DROPS_SHOW_S
    assert is_well()
    connection.close()


def test_a_broker_that_counts_anew_has_dropped_what_it_says() -> None:
    told = BrokerMetrics(CollectorRegistry())
    for count, is_well in ((7, True), (7, True), (0, True), (2, False)):
        told.dropped(count)
        assert told.checks()["queue"]() is is_well, count


@pytest.fixture
def rules(conf: Path, tmp_path: Path) -> None:
    """Rules of the broker that let nobody read what it tells of itself."""
    path = tmp_path / "acl"
    path.write_text("topic readwrite ships/#\ntopic readwrite gateways/#\n")
    path.chmod(0o600)
    conf.write_text(f"{conf.read_text('utf-8')}acl_file {path}\n", "utf-8")


@pytest.mark.usefixtures("rules", "gateway")
def test_a_broker_that_does_not_let_us_hear_it_takes_messages_all_the_same(
    outbox: Outbox, broker: Broker, registry: CollectorRegistry
) -> None:
    worker, made = Worker(broker.port), entry()
    outbox.accept(made)
    until(lambda: stored(outbox, made.batch_id), "stored")
    assert math.isnan(dropped(registry) or 0)
    worker.close()


@pytest.mark.parametrize("payload", [b"", b"many", b"\xff", b"1 2"], ids=["nothing", "a word", "no text", "two"])
def test_what_is_no_number_is_passed_over(gateway: Dispatcher, registry: CollectorRegistry, payload: bytes) -> None:
    until(lambda: dropped(registry) == 0, "the broker tells that it dropped none")
    assert gateway._link is not None
    message = MQTTMessage(topic=DROPPED.encode())
    message.payload = payload
    gateway._link._received(message)
    assert dropped(registry) == 0
