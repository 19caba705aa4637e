"""The worker's client reads and sends many packets at once, and loses none of them."""

import signal
from contextlib import closing
from typing import Any

from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.receipts import Receipt
from normalizer_worker.mqtt.session import Connection
from tests.support.servers import HOST, Broker
from tests.support.session import Worker, has_come, payloads, publish, receive
from tests.support.waiting import until

MESSAGES = 100
RECEIPT_BYTES = 100_000


class Counted:
    """A socket, and how often it was read and written."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.reads = self.writes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def recv(self, size: int) -> bytes:
        self.reads += 1
        found: bytes = self.inner.recv(size)
        return found

    def send(self, data: bytes) -> int:
        self.writes += 1
        sent: int = self.inner.send(data)
        return sent


def test_many_messages_are_read_and_answered_with_few_system_calls(broker: Broker, worker: Worker) -> None:
    connection = worker.connect()
    sent = [b"%d" % i for i in range(MESSAGES)]
    publish(broker, *sent)
    until(lambda: has_come(connection, sent[-1]), "all of them")
    sock: Any = connection._client.socket()
    sock._inner = counted = Counted(sock._inner)
    messages = receive(connection, MESSAGES)
    assert payloads(messages) == sent
    connection.finish([Done(each, Receipt("gateways/1", b"{}", None, "stored")) for each in messages])
    assert counted.reads < MESSAGES
    assert counted.writes < MESSAGES / 10


def test_what_the_socket_does_not_take_at_once_is_sent_later(broker: Broker, worker: Worker) -> None:
    """The broker reads nothing for a while, and the receipts are more than the buffers between them hold."""
    connection = worker.connect()
    publish(broker, *[b"a"] * MESSAGES)
    messages = receive(connection, MESSAGES)
    receipts = [b"%06d" % i + b"x" * RECEIPT_BYTES for i in range(MESSAGES)]
    with closing(Connection(HOST, broker.port, "test-gateway", "gateways/1", MESSAGES)) as gateway:
        broker.send_signal(signal.SIGSTOP)
        try:
            done = [
                Done(each, Receipt("gateways/1", receipt, None, "stored"))
                for each, receipt in zip(messages, receipts, strict=True)
            ]
            connection.finish(done[: MESSAGES // 2])
            connection.finish(done[MESSAGES // 2 :])
            assert connection._client.want_write()
        finally:
            broker.send_signal(signal.SIGCONT)
        until(lambda: connection.receive(0.01) or not connection._acknowledgements.unconfirmed, "all are confirmed")
        assert payloads(receive(gateway, MESSAGES)) == receipts
    assert worker.connect().receive(0.3) is None, "all are acknowledged"
