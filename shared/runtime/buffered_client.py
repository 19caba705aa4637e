"""An MQTT client that reads and sends many packets with one system call.

paho reads the first byte of a packet, then its length byte by byte, then the rest, and it sends each packet by itself.
With small messages most of its time goes there.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes

READ_BYTES = 64 * 1024
_PUBLISH, _PUBACK = PacketTypes.PUBLISH << 4, PacketTypes.PUBACK << 4


class ReadAhead:
    """A socket that is read in large pieces; all else is the socket's own."""

    def __init__(self, inner: socket.socket) -> None:
        """Wrap a connected socket."""
        self._inner = inner
        self._read = b""
        self._at = 0

    def __getattr__(self, name: str) -> Any:
        """Return what the socket has of that name."""
        return getattr(self._inner, name)

    def recv(self, size: int) -> bytes:
        """Return at most so many bytes, as `socket.recv` does, from what has been read ahead if there is any."""
        at, end = self._at, self._at + size
        if at < len(self._read):
            self._at = end
            return self._read[at:end]
        if size >= READ_BYTES:
            return self._inner.recv(size)
        self._read, self._at = self._inner.recv(READ_BYTES), size
        return self._read[:size]

    def pending(self) -> int:
        """Return how many bytes can be read though `select` does not see them."""
        in_tls: int = getattr(self._inner, "pending", int)()
        return max(len(self._read) - self._at, 0) + in_tls


class BufferedClient(Client):
    """paho's client, for one connection and without its thread."""

    _is_collecting = False

    @property
    def read_ahead_bytes(self) -> int:
        """How many bytes can be read though `select` does not see them."""
        sock: Any = self.socket()
        return 0 if sock is None else sock.pending()

    def _create_socket(self) -> Any:
        return ReadAhead(super()._create_socket())  # type: ignore[arg-type]  # without websockets it is a socket

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send nothing before the end of the block. If the connection is lost, the next read tells."""
        self._is_collecting = True
        try:
            yield
        finally:
            self._is_collecting = False
            self._join()
            self.loop_write()

    def loop_write(self) -> MQTTErrorCode:
        """See paho."""
        return MQTTErrorCode.MQTT_ERR_SUCCESS if self._is_collecting else super().loop_write()

    def _join(self) -> None:
        """Make one of all packets that wait, unless paho has something to do once one of them is sent."""
        waiting = self._out_packet
        if len(waiting) > 1 and all(map(_is_sent_silently, waiting)):
            joined = b"".join(each["packet"][each["pos"] :] for each in waiting)
            waiting.clear()
            self._packet_queue(_PUBACK, joined, 0, 1)


def _is_sent_silently(packet: Mapping[str, Any]) -> bool:
    kind: int = packet["command"] & 0xF0
    return kind == _PUBACK or (kind == _PUBLISH and bool(packet["qos"]))
