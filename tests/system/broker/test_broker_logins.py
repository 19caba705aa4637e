"""How worker and gateway get into a broker that asks who is there, with and without TLS, and what they say if not."""

import gc
import logging
import socket
import ssl
import threading
from pathlib import Path

import pytest

from normalizer_worker.mqtt import receipts, session
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.session import Connection
from shared.contract.topics import ALL_READINGS
from shared.domain.errors import InvalidSettings, Unavailable
from shared.runtime.mqtt_client import Login
from tests.support.authenticated_broker import AuthenticatedBroker
from tests.support.outbox import an_outbox, dispatching, entry
from tests.support.servers import HOST, free_port
from tests.support.waiting import until


def connect(port: int, login: Login, topic: str = ALL_READINGS) -> Connection:
    return Connection(HOST, port, "normalizer-worker", topic, 100, login=login)


def login(broker: AuthenticatedBroker, user: str, ca_file: Path | None = None) -> Login:
    return Login(user, broker.password(user), ca_file)


@pytest.mark.parametrize("tls", [False, True])
def test_batches_get_from_gateway_to_worker_and_receipts_back(
    authenticated: AuthenticatedBroker,
    tmp_path: Path,
    tls: bool,  # noqa: FBT001  # a case
) -> None:
    """In their order, the large and the many: what TLS has decrypted no select shows."""
    port, ca_file = (authenticated.tls_port, authenticated.certificate) if tls else (authenticated.port, None)
    sent = [entry() for _ in range(200)] + [entry(payload=b"x" * 5_000_000)]
    worker = connect(port, login(authenticated, "worker", ca_file))
    with an_outbox(tmp_path) as outbox:
        for each in sent:
            outbox.accept(each)
        with dispatching(outbox, port, login(authenticated, "gateway", ca_file)):
            for each in sent:
                message = until(lambda: worker.receive(0.05), "the message")
                assert message.payload == each.payload
                worker.finish([Done(message, receipts.stored(message, 7, each.batch_id, 3))])
            until(lambda: outbox.depth == 0 or worker.receive(0.05), "the receipts")
            assert outbox.depth == 0
    worker.close()


@pytest.mark.parametrize("refused", [Login(), Login("worker", "wrong"), Login("nobody", "x")])
def test_a_worker_that_the_broker_does_not_know_has_a_wrong_setting(
    authenticated: AuthenticatedBroker, refused: Login
) -> None:
    """It reads its password at start: trying again would change nothing."""
    with pytest.raises(InvalidSettings, match="refuses the connection: Not authorized; check POWER_MQTT_USERNAME"):
        connect(authenticated.port, refused)


def test_over_tls_nobody_is_anonymous_either(authenticated: AuthenticatedBroker) -> None:
    with pytest.raises(InvalidSettings, match="refuses the connection"):
        connect(authenticated.tls_port, Login(ca_file=authenticated.certificate))


def test_a_user_who_may_not_read_the_readings_is_a_wrong_setting(authenticated: AuthenticatedBroker) -> None:
    with pytest.raises(InvalidSettings, match="refuses the subscription: Not authorized; check POWER_MQTT_USERNAME"):
        connect(authenticated.port, login(authenticated, "gateway"))


def test_a_gateway_that_the_broker_does_not_know_says_what_to_check(
    authenticated: AuthenticatedBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And goes on accepting, and trying."""
    with an_outbox(tmp_path) as outbox, dispatching(outbox, authenticated.port, Login("gateway", "wrong")) as gateway:
        until(lambda: "Not authorized; check POWER_MQTT_USERNAME and POWER_MQTT_PASSWORD" in caplog.text, "a word")
        assert {each.levelno for each in caplog.records if "refuses" in each.message} == {logging.ERROR}
        assert not gateway.is_connected()
        assert outbox.accept(entry())[1]


def test_a_gateway_with_the_wrong_user_gets_nothing_through(
    authenticated: AuthenticatedBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = connect(authenticated.port, login(authenticated, "worker"))
    with an_outbox(tmp_path) as outbox, dispatching(outbox, authenticated.port, login(authenticated, "monitor")):
        outbox.accept(entry())
        until(lambda: "refuses the subscription to its receipts: Not authorized" in caplog.text, "a word")
        assert worker.receive(0.3) is None
        assert outbox.depth == 1
    worker.close()


def test_a_gateway_says_why_there_is_no_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    with an_outbox(tmp_path) as outbox, dispatching(outbox, port):
        until(lambda: f"no broker at {HOST}:{port}: " in caplog.text and "refused" in caplog.text, "a word")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves such a socket to the gc
def test_a_broker_of_another_certificate_gets_no_password(
    authenticated: AuthenticatedBroker, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    other = AuthenticatedBroker(tmp_path_factory.mktemp("other"))
    other.add_tls()
    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        connect(authenticated.tls_port, login(authenticated, "worker", other.certificate))
    of_other = login(authenticated, "gateway", other.certificate)
    with an_outbox(other.folder / "outbox") as outbox, dispatching(outbox, authenticated.tls_port, of_other):
        until(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text, "a word")
    gc.collect()


def test_what_comes_in_one_record_of_tls_is_not_waited_for_one_by_one(
    authenticated: AuthenticatedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a record is decrypted, the socket has no more to show: this one holds 100 messages and the confirmation."""
    monkeypatch.setattr(session, "HANDSHAKE_S", 2)
    topic = b"ships/7/readings"
    message = bytes([0x30, 2 + len(topic) + 1 + 1, 0, len(topic)]) + topic + b"\0x"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authenticated.certificate, authenticated.certificate.with_name("server.key"))

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
        connection = connect(server.getsockname()[1], Login(ca_file=authenticated.certificate))
        received = [connection.receive(0) for _ in range(100)]
        assert [each.payload for each in received if each] == [b"x"] * 100
        connection.close()
        thread.join()
