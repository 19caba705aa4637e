"""A worker's session at a broker: its connections, and what comes over them."""

import socket
from contextlib import suppress
from typing import Any

import paho.mqtt.publish as paho

from normalizer_worker.mqtt.publish import Message
from normalizer_worker.mqtt.session import Connection
from shared.contract.topics import ALL_READINGS
from tests.support.servers import HOST, Broker
from tests.support.waiting import until


class Worker:
    """Opens connections of one session, and closes what is still open at the end."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._open: list[Connection] = []

    def connect(self, receive_maximum: int = 100) -> Connection:
        connection = Connection(HOST, self._broker.port, "test-worker", ALL_READINGS, receive_maximum)
        self._open.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._open:
            connection.close()


def publish(broker: Broker, *payloads: bytes, topic: str = "ships/1/readings", retain: bool = False) -> None:
    """Publish payloads, one after another."""
    for payload in payloads:
        paho.single(topic, payload, qos=1, retain=retain, hostname=HOST, port=broker.port)


def receive(connection: Connection, count: int) -> list[Message]:
    """Wait for so many messages."""
    received: list[Message] = []

    def enough() -> bool:
        message = connection.receive(0.05)
        if message is not None:
            received.append(message)
        return len(received) >= count

    until(enough, f"{count} messages")
    return received


def payloads(messages: list[Message]) -> list[bytes]:
    return [message.payload for message in messages]


def has_come(connection: Connection, what: bytes) -> bool:
    """Look at what has been read ahead and what waits in the socket, without taking it."""
    sock: Any = connection._client.socket()
    waiting = b""
    with suppress(BlockingIOError):
        waiting = sock._inner.recv(65536, socket.MSG_PEEK)
    return what in sock._read[sock._at :] + waiting
