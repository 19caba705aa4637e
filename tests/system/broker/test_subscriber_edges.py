"""The ends of a connection: refusals, silence, and what a session outlives."""

import socket
import threading
from collections.abc import Iterator

import pytest

from normalizer_worker.mqtt import session
from normalizer_worker.mqtt.session import Connection
from shared.contract.topics import ALL_READINGS
from shared.domain.errors import InvalidSettings, Unavailable
from tests.support.servers import HOST, Broker
from tests.support.session import Worker, payloads, publish, receive
from tests.support.waiting import until

NOT_AUTHORIZED, BUSY = 0x87, 0x89


class Listener:
    """Takes one connection, answers CONNECT with a few bytes or not at all, and waits for its end."""

    def __init__(self) -> None:
        self._server = socket.create_server((HOST, 0))
        self.port: int = self._server.getsockname()[1]
        self.answer = b""
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._server, self._server.accept()[0] as client:
            client.settimeout(5)
            client.recv(4096)
            client.sendall(self.answer)
            while client.recv(4096):
                pass
            self.ended.set()

    def close(self) -> None:
        self._thread.join(10)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


def connect(port: int) -> Connection:
    return Connection(HOST, port, "test-worker", ALL_READINGS, 100)


@pytest.mark.parametrize(("code", "kind"), [(NOT_AUTHORIZED, InvalidSettings), (BUSY, Unavailable)])
def test_a_refusal_for_good_is_a_wrong_setting_and_any_other_is_tried_again(
    listener: Listener, code: int, kind: type[Exception]
) -> None:
    listener.answer = bytes([0x20, 3, 0, code, 0])  # a CONNACK with a reason code and no properties
    with pytest.raises(kind, match="refuses the connection"):
        connect(listener.port)


def test_a_broker_that_never_answers_is_given_up_and_left(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is closed at once, not whenever somebody tidies up."""
    monkeypatch.setattr(session, "HANDSHAKE_S", 0.2)
    with pytest.raises(Unavailable, match="did not answer the connection"):
        connect(listener.port)
    assert listener.ended.wait(1)


def test_an_idle_connection_gives_signs_of_life(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker ends one that says nothing for one and a half times the keepalive."""
    monkeypatch.setattr(session, "KEEPALIVE_S", 1)
    connection = worker.connect()
    said: list[str] = []
    connection._client.on_log = lambda _client, _userdata, _level, text: said.append(text)
    until(
        lambda: connection.receive(0.05) or "Sending PINGREQ" in said,
        "a ping",
        5,
    )


def test_the_session_never_expires(worker: Worker) -> None:
    """A worker that is away for a month misses nothing."""
    properties = worker.connect()._client._connect_properties
    assert properties is not None
    assert vars(properties)["SessionExpiryInterval"] == 2**32 - 1


def test_what_waited_comes_in_the_order_in_which_it_was_sent(broker: Broker, worker: Worker) -> None:
    """The first of it comes before the subscription is confirmed: of values without `sent_at` the last must count."""
    worker.connect().close()
    sent = [b"%d" % i for i in range(60)]
    publish(broker, *sent)
    assert payloads(receive(worker.connect(), 60)) == sent
