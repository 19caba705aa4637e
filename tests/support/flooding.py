"""A sender over MQTT 5 that writes as fast as it can, and what no library would send."""

import socket
import threading
import time
from contextlib import suppress
from typing import Self

from paho.mqtt.properties import VariableByteIntegers

from shared.contract.topics import readings_topic
from tests.support.servers import HOST

CONNECT = b"\x00\x04MQTT\x05\x02\x00\x00\x00"
QOS_BITS = {0: 0x30, 1: 0x32}


def correlation_data(length: int) -> bytes:
    """Give the properties of a message with so much Correlation Data."""
    return b"\x09" + length.to_bytes(2) + bytes(length)


def user_properties(length: int) -> bytes:
    """Give the properties of a message with User Properties of about so many bytes."""
    value = bytes([ord("x")]) * 60_000
    each = b"\x26\x00\x01x" + len(value).to_bytes(2) + value
    return each * max(length // len(each), 1)


class Flood:
    """One connection; what the broker answers is read and passed over."""

    def __init__(self, port: int, name: str = "flood") -> None:
        """Connect to a broker."""
        self._socket = socket.create_connection((HOST, port))
        self._socket.sendall(_packet(0x10, CONNECT + len(name).to_bytes(2) + name.encode()))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        """Send for a while."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        with suppress(OSError):  # the broker may have ended it
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    def _read(self) -> None:
        with suppress(OSError):
            while self._socket.recv(65536):
                pass

    def send(  # noqa: PLR0913  # what a message is made of, and how many
        self, ship: int, payload: bytes, properties: bytes = b"", *, qos: int, count: int, most_s: float
    ) -> int:
        """Publish a message again and again, for so long at most; give how often."""
        topic, end_s = readings_topic(ship).encode(), time.monotonic() + most_s
        head = len(topic).to_bytes(2) + topic
        rest = bytes(VariableByteIntegers.encode(len(properties))) + properties + payload  # type: ignore[no-untyped-call]
        for sent in range(count):
            if time.monotonic() > end_s:
                return sent
            identifier = (sent % 65_535 + 1).to_bytes(2) if qos else b""
            self._socket.sendall(_packet(QOS_BITS[qos], head + identifier + rest))
        return count


def _packet(kind: int, body: bytes) -> bytes:
    length: bytes = bytes(VariableByteIntegers.encode(len(body)))  # type: ignore[no-untyped-call]  # paho leaves it so
    return bytes([kind]) + length + body
