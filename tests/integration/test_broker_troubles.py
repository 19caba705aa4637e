"""What a real broker without a memory can do to a worker: each of it is told, and what was accepted is stored."""

import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import paho.mqtt.publish as paho
import pytest
from flask.testing import FlaskClient
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client import CollectorRegistry

from ingest_api.delivery import dispatcher as dispatcher_module
from ingest_api.outbox.outbox import Outbox
from normalizer_worker.mqtt import canary
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.receipts import Receipt
from normalizer_worker.mqtt.session import Connection
from power_cli.broker_control import carry_out
from shared.contract.topics import ALL_READINGS, CANARY
from shared.runtime.mqtt_client import Login
from shared.runtime.settings import BrokerAdminSettings
from shared.store.sqlite import SqliteStore
from tests.integration.test_receipts import has_come
from tests.support.guarded import GuardedBroker, Somebody
from tests.support.outbox import SHIP, dispatching, entry, stored
from tests.support.servers import HOST, Broker, ForgetfulBroker, started
from tests.support.waiting import until
from tests.support.worker import CLIENT_ID, await_ready, await_red, running

BATCH = {"units": "kW", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 1}]}
MAY_ALL = "topic readwrite ships/#\ntopic readwrite gateways/#\n"
MAY_NOT_READ = "topic write ships/#\ntopic readwrite gateways/#\n"


class RuledBroker(ForgetfulBroker):
    """A broker with a file of rules, which it reads again when it is told to."""

    def configure(self) -> Path:
        path = super().configure()
        rules = self.folder / "acl"
        rules.write_text(MAY_ALL, "utf-8")
        rules.chmod(0o600)
        path.write_text(f"{path.read_text('utf-8')}acl_file {rules}\n", "utf-8")
        return path

    def rule(self, rules: str) -> None:
        """Have other rules."""
        (self.folder / "acl").write_text(rules, "utf-8")
        self.send_signal(signal.SIGHUP)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RuledBroker]:
    with started(RuledBroker(tmp_path / "broker")) as broker:
        yield broker


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardedBroker]:
    """A broker with users."""
    with started(GuardedBroker(tmp_path)) as broker:
        yield broker


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(tmp_path)) as store:
        yield store


@pytest.fixture
def worker(broker: Broker, store: SqliteStore, tmp_path: Path) -> Iterator[tuple[FlaskClient, CollectorRegistry]]:
    with running(broker, store, tmp_path) as worker:
        await_ready(worker[0])
        yield worker


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is quiet soon, and what does not come back soon never does."""
    monkeypatch.setattr(canary, "QUIET_S", 0.05)
    monkeypatch.setattr(canary, "BACK_WITHIN_S", 0.5)


def accept(outbox: Outbox) -> UUID:
    name = uuid4()
    made = entry(name, payload=json.dumps({"batch_id": str(name), **BATCH}).encode())
    outbox.accept(made)
    return name


def send(broker: Broker) -> None:
    paho.single(f"ships/{SHIP}/readings", json.dumps(BATCH), qos=1, hostname=HOST, port=broker.port)


def count(registry: CollectorRegistry, name: str) -> float:
    return registry.get_sample_value(f"power_worker_{name}_total") or 0


def test_a_broker_that_has_forgotten_all_is_told_and_what_was_accepted_is_stored(
    broker: RuledBroker,
    worker: tuple[FlaskClient, CollectorRegistry],
    outbox: Outbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(dispatcher_module, "LAST_PAUSE_S", 0.1)
    asking, registry = worker
    with dispatching(outbox, broker.port) as dispatcher:
        first = accept(outbox)
        until(lambda: stored(outbox, first), "the first is stored")
        assert count(registry, "lost_sessions") == 0, "the first session ever is no lost one"
        broker.send_signal(signal.SIGKILL)
        await_red(asking, "broker")
        until(lambda: not dispatcher.is_connected(), "the gateway notices")
        second = accept(outbox)
        broker.stop()
        broker.start()
        until(lambda: stored(outbox, second), "what was accepted meanwhile is stored")
    await_ready(asking)
    assert count(registry, "lost_sessions") == 1
    assert "has lost the worker's session" in caplog.text


def test_a_session_that_the_broker_keeps_is_not_told_as_lost(
    broker: RuledBroker, worker: tuple[FlaskClient, CollectorRegistry]
) -> None:
    """Another one under its name ends the worker's connection, and not its session."""
    _, registry = worker
    Connection(HOST, broker.port, CLIENT_ID, ALL_READINGS, 100).close()
    until(lambda: count(registry, "reconnects") == 1, "the worker is connected again")
    assert count(registry, "lost_sessions") == 0


def test_a_session_that_is_taken_away_is_told_and_the_worker_subscribes_anew(
    broker: RuledBroker, worker: tuple[FlaskClient, CollectorRegistry]
) -> None:
    """The broker lives on; the subscription is gone with the session."""
    _, registry = worker
    thief = Client(CallbackAPIVersion.VERSION2, CLIENT_ID, clean_session=True)
    thief.connect(HOST, broker.port)
    until(lambda: thief.loop(0.01) or thief.is_connected(), "it has the session")
    thief.disconnect()
    until(lambda: count(registry, "lost_sessions") == 1, "the worker notices")
    until(lambda: count(registry, "reconnects") == 1, "the worker is connected again")
    send(broker)
    until(lambda: count(registry, "messages") == 1, "what is sent reaches it")


@pytest.mark.usefixtures("_soon")
def test_messages_that_come_no_more_over_a_good_connection_are_missed(
    broker: RuledBroker, worker: tuple[FlaskClient, CollectorRegistry]
) -> None:
    """The rules have changed: the broker confirms what is sent, and gives it to nobody, without a word."""
    asking, registry = worker
    broker.rule(MAY_NOT_READ)
    await_red(asking, "subscription")
    assert count(registry, "lost_subscriptions") >= 1
    broker.rule(MAY_ALL)
    await_ready(asking)
    send(broker)
    until(lambda: count(registry, "messages") == 1, "what is sent reaches it")


@pytest.mark.usefixtures("_soon")
def test_a_quiet_subscription_is_no_lost_one(
    broker: RuledBroker, worker: tuple[FlaskClient, CollectorRegistry]
) -> None:
    """One message to itself after the other comes back; none of them is counted, or a dead letter."""
    asking, registry = worker
    probes: list[str] = []
    listener = Client(CallbackAPIVersion.VERSION2)
    listener.on_connect = lambda *_: (listener.subscribe(ALL_READINGS), None)[1]
    listener.on_message = lambda _c, _u, message: probes.append(message.topic)
    listener.connect(HOST, broker.port)
    until(lambda: listener.loop(0.01) or len(probes) >= 5, "some of them")
    listener.disconnect()
    assert set(probes) == {CANARY}
    await_ready(asking)
    assert count(registry, "lost_subscriptions") == count(registry, "reconnects") == count(registry, "messages") == 0


class Rights:
    """What the worker may do at a broker with users."""

    def __init__(self, broker: GuardedBroker) -> None:
        self.login = Login("worker", broker.password("worker"))
        settings = {"POWER_MQTT_PORT": str(broker.port), "POWER_MQTT_ADMIN_PASSWORD": broker.password("admin")}
        self._admin = BrokerAdminSettings.load(settings)

    def take(self, kind: str, topic: str) -> None:
        self._carry_out("removeRoleACL", acltype=kind, topic=topic)

    def give(self, kind: str, topic: str) -> None:
        self._carry_out("addRoleACL", acltype=kind, topic=topic, allow=True)

    def _carry_out(self, command: str, **fields: object) -> None:
        (answer,) = carry_out(self._admin, [{"command": command, "rolename": "worker", **fields}])
        assert "error" not in answer


@pytest.mark.usefixtures("_soon")
def test_a_right_that_the_administrator_takes_is_missed_until_it_is_given_back(
    guarded: GuardedBroker, store: SqliteStore, tmp_path: Path
) -> None:
    """The plugin ends the connection; over the next one the subscription is granted, and nothing comes."""
    rights = Rights(guarded)
    with running(guarded, store, tmp_path, rights.login) as (asking, registry):
        await_ready(asking)
        rights.take("publishClientReceive", ALL_READINGS)
        await_red(asking, "subscription")
        rights.give("publishClientReceive", ALL_READINGS)
        await_ready(asking)
        with Somebody(guarded.port, "gateway", guarded.password("gateway")) as gateway:
            gateway.connect()
            gateway.publish(f"ships/{SHIP}/readings", json.dumps(BATCH).encode())
        until(lambda: count(registry, "messages") == 1, "what is sent reaches it")


@pytest.mark.usefixtures("_soon")
def test_a_worker_that_may_not_send_to_itself_works_all_the_same(
    guarded: GuardedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker whose roles were written by an earlier version."""
    rights = Rights(guarded)
    rights.take("publishClientSend", CANARY)
    with closing(Connection(HOST, guarded.port, "worker", ALL_READINGS, 9, login=rights.login)) as connection:
        until(lambda: connection.receive(0.01) or "refuses the canary message" in caplog.text, "it says so")
        assert connection._canary._due_s == canary._NEVER_S
        with Somebody(guarded.port, "gateway", guarded.password("gateway")) as gateway:
            gateway.connect()
            gateway.publish(f"ships/{SHIP}/readings")
        until(lambda: connection.receive(0.01), "what is sent reaches it")
        assert connection.receive(0.01) is None
        assert connection._canary._due_s == canary._NEVER_S


def test_a_message_behind_one_to_itself_is_not_overlooked(broker: RuledBroker) -> None:
    with closing(Connection(HOST, broker.port, CLIENT_ID, ALL_READINGS, 9)) as connection:
        for topic, payload in ((CANARY, b""), ("ships/1/readings", b"behind")):
            paho.single(topic, payload, qos=1, hostname=HOST, port=broker.port)
        until(lambda: has_come(connection, b"behind"), "both")
        message = connection.receive(0)
        assert message is not None
        assert message.payload == b"behind"


@pytest.mark.usefixtures("_soon")
def test_it_sends_nothing_to_itself_while_the_broker_confirms_nothing(broker: RuledBroker) -> None:
    """There may be no room for it: more than the broker's Receive Maximum ends the connection."""
    with closing(Connection(HOST, broker.port, CLIENT_ID, ALL_READINGS, 9)) as connection:
        paho.single("ships/1/readings", b"a", qos=1, hostname=HOST, port=broker.port)
        message = until(lambda: connection.receive(0.01), "a message")
        broker.send_signal(signal.SIGSTOP)
        try:
            connection.finish([Done(message, Receipt("ships/1/receipts", b"{}", None, "stored"))])
            for _ in range(10):
                assert connection.receive(canary.QUIET_S) is None
                assert not connection._canary._is_out
        finally:
            broker.send_signal(signal.SIGCONT)
        until(lambda: connection.receive(0.01) or connection._canary._is_out, "it sends one")
