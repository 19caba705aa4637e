"""What the broker drops in silence, it tells on a topic of its own; the gateway hears it, where it may."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from ingest_api.dispatcher import Dispatcher
from ingest_api.metrics import IngestMetrics
from ingest_api.outbox import Outbox
from normalizer_worker.subscriber import Connection
from power_cli import mosquitto
from shared.mqtt_publish import Message
from shared.topics import ALL_READINGS, DROPPED
from tests.support.outbox import Worker, dispatching, entry, stored
from tests.support.servers import HOST, Broker
from tests.support.waiting import until

QUEUED = 2


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the broker is configured from: a queue that is soon full, told every second."""
    path = tmp_path / "local.conf"
    text = mosquitto.TEMPLATE.read_text("utf-8")
    assert "max_queued_messages 1000000" in text
    path.write_text(text.replace("max_queued_messages 1000000", f"max_queued_messages {QUEUED}") + "sys_interval 1\n")
    monkeypatch.setattr(mosquitto, "TEMPLATE", path)
    return path


@pytest.fixture
def broker(conf: Path, tmp_path: Path) -> Iterator[Broker]:  # noqa: ARG001  # configured from it
    broker = Broker(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def gateway(broker: Broker, outbox: Outbox, registry: CollectorRegistry) -> Iterator[Dispatcher]:
    with dispatching(outbox, broker.port, dropped=IngestMetrics(registry).dropped.set) as gateway:
        until(gateway.is_connected, "the gateway is connected")
        yield gateway


def dropped(registry: CollectorRegistry) -> float | None:
    return registry.get_sample_value("power_broker_dropped_messages")


def test_until_the_broker_tells_it_is_not_known_which_is_not_0() -> None:
    registry = CollectorRegistry()
    IngestMetrics(registry)
    assert math.isnan(dropped(registry) or 0)


def test_what_a_full_queue_drops_is_told(
    broker: Broker, gateway: Dispatcher, outbox: Outbox, registry: CollectorRegistry
) -> None:
    until(lambda: dropped(registry) == 0, "the broker tells that it dropped none")
    Connection(HOST, broker.port, "test-worker", ALL_READINGS, 100).close()
    for _ in range(QUEUED + 3):
        outbox.accept(entry())
        gateway.accepted()  # confirmed, all of them
    until(lambda: dropped(registry) == 3, "the broker tells that it dropped three")
    assert outbox.depth == QUEUED + 3, "and they wait, nevertheless"


@pytest.fixture
def rules(conf: Path, tmp_path: Path) -> None:
    """Rules of the broker that let nobody read what it tells of itself."""
    path = tmp_path / "acl"
    path.write_text("topic readwrite ships/#\ntopic readwrite gateways/#\n")
    path.chmod(0o600)
    conf.write_text(f"{conf.read_text('utf-8')}acl_file {path}\n", "utf-8")


@pytest.mark.usefixtures("rules")
def test_a_broker_that_does_not_let_us_hear_it_takes_messages_all_the_same(
    gateway: Dispatcher, outbox: Outbox, broker: Broker, registry: CollectorRegistry
) -> None:
    worker, made = Worker(broker.port), entry()
    outbox.accept(made)
    gateway.accepted()
    until(lambda: stored(outbox, made.batch_id), "stored")
    assert math.isnan(dropped(registry) or 0)
    worker.close()


@pytest.mark.parametrize("payload", [b"", b"many", b"\xff", b"1 2"], ids=["nothing", "a word", "no text", "two"])
def test_what_is_no_number_is_passed_over(gateway: Dispatcher, registry: CollectorRegistry, payload: bytes) -> None:
    until(lambda: dropped(registry) == 0, "the broker tells that it dropped none")
    assert gateway._link is not None
    gateway._link._told(Message(DROPPED, payload, retained=True, qos=0, mid=0))
    assert dropped(registry) == 0
