"""How worker and gateway get into a broker that asks who is there, with and without TLS, and what they say if not."""

import gc
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ingest_api.mqtt_publisher import MqttPublisher

from normalizer_worker import subscriber
from normalizer_worker.finishing import Done
from normalizer_worker.subscriber import Connection
from shared.broker import Login
from shared.errors import InvalidSettings, Unavailable
from shared.topics import ALL_READINGS, readings_topic
from tests.support.guarded import GuardedBroker
from tests.support.servers import HOST, free_port
from tests.support.waiting import until


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    """A broker with a listener for TLS, too."""
    broker = GuardedBroker(tmp_path_factory.mktemp("guarded"))
    broker.add_tls()
    broker.start()
    yield broker
    broker.stop()


def connect(port: int, login: Login, topic: str = ALL_READINGS) -> Connection:
    return Connection(HOST, port, "normalizer-worker", topic, 100, login=login)


def login(broker: GuardedBroker, user: str, ca_file: Path | None = None) -> Login:
    return Login(user, broker.password(user), ca_file)


@pytest.mark.parametrize("tls", [False, True])
def test_batches_get_from_gateway_to_worker(guarded: GuardedBroker, tls: bool) -> None:  # noqa: FBT001  # a case
    """In their order, the large and the many: what TLS has decrypted no select shows."""
    port, ca_file = (guarded.tls_port, guarded.certificate) if tls else (guarded.port, None)
    worker = connect(port, login(guarded, "worker", ca_file))
    gateway = MqttPublisher(HOST, port, login(guarded, "gateway", ca_file))
    sent = [b"%d" % number for number in range(200)] + [b"x" * 5_000_000]
    try:
        until(gateway.is_connected, "the gateway is connected")
        for payload in sent:
            gateway.publish(readings_topic(7), payload)
        for payload in sent:
            message = until(lambda: worker.receive(0.05), "the message")
            assert message.payload == payload
            worker.finish([Done(message)])
    finally:
        worker.close()
        gateway.close()


@pytest.mark.parametrize("refused", [Login(), Login("worker", "wrong"), Login("nobody", "x")])
def test_a_worker_that_the_broker_does_not_know_has_a_wrong_setting(guarded: GuardedBroker, refused: Login) -> None:
    """It reads its password at start: trying again would change nothing."""
    with pytest.raises(InvalidSettings, match="refuses the connection: Not authorized; check POWER_MQTT_USERNAME"):
        connect(guarded.port, refused)


def test_over_tls_nobody_is_anonymous_either(guarded: GuardedBroker) -> None:
    with pytest.raises(InvalidSettings, match="refuses the connection"):
        connect(guarded.tls_port, Login(ca_file=guarded.certificate))


def test_a_user_who_may_not_read_the_readings_is_a_wrong_setting(guarded: GuardedBroker) -> None:
    with pytest.raises(InvalidSettings, match="refuses the subscription: Not authorized; check POWER_MQTT_USERNAME"):
        connect(guarded.port, login(guarded, "gateway"))


def test_a_gateway_that_the_broker_does_not_know_says_what_to_check(
    guarded: GuardedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = MqttPublisher(HOST, guarded.port, Login("gateway", "wrong"))
    try:
        until(lambda: "Not authorized; check POWER_MQTT_USERNAME and POWER_MQTT_PASSWORD" in caplog.text, "a word")
        assert [each.levelno for each in caplog.records if "refuses" in each.message] == [logging.ERROR]
        with pytest.raises(Unavailable, match="away"):
            gateway.publish(readings_topic(7), b"x")
    finally:
        gateway.close()


def test_a_gateway_with_the_wrong_user_accepts_nothing(guarded: GuardedBroker) -> None:
    worker = connect(guarded.port, login(guarded, "worker"))
    gateway = MqttPublisher(HOST, guarded.port, login(guarded, "monitor"))
    try:
        until(gateway.is_connected, "the gateway is connected")
        with pytest.raises(Unavailable, match="refused the message: Not authorized"):
            gateway.publish(readings_topic(7), b"x")
        assert worker.receive(0.3) is None
    finally:
        gateway.close()
        worker.close()


def test_a_gateway_says_why_there_is_no_connection(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    gateway = MqttPublisher(HOST, port)
    try:
        until(lambda: f"no broker at {HOST}:{port}: " in caplog.text and "refused" in caplog.text, "a word")
    finally:
        gateway.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves such a socket to the gc
def test_a_broker_of_another_certificate_gets_no_password(
    guarded: GuardedBroker, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    other = GuardedBroker(tmp_path_factory.mktemp("other"))
    other.add_tls()
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        connect(guarded.tls_port, login(guarded, "worker", other.certificate))
    gateway = MqttPublisher(HOST, guarded.tls_port, login(guarded, "gateway", other.certificate))
    try:
        until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text, "a word")
    finally:
        gateway.close()
    gc.collect()


def test_what_comes_in_one_record_of_tls_is_not_waited_for_one_by_one(
    guarded: GuardedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a record is decrypted, the socket has no more to show: this one holds 100 messages and the confirmation."""
    monkeypatch.setattr(subscriber, "HANDSHAKE_S", 2)
    topic = b"ships/7/readings"
    message = bytes([0x30, 2 + len(topic) + 1 + 1, 0, len(topic)]) + topic + b"\0x"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(guarded.certificate, guarded.certificate.with_name("server.key"))

    def serve(server: socket.socket) -> None:
        with context.wrap_socket(server.accept()[0], server_side=True) as client:
            client.recv(4096)
            client.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK
            mid = client.recv(4096)[2:4]  # of SUBSCRIBE
            client.sendall(100 * message + b"\x90\x04" + mid + b"\x00\x01")  # SUBACK
            client.recv(4096)

    with socket.create_server((HOST, 0)) as server:
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        connection = connect(server.getsockname()[1], Login(ca_file=guarded.certificate))
        received = [connection.receive(0) for _ in range(100)]
        assert [each.payload for each in received if each] == [b"x"] * 100
        connection.close()
        thread.join()
