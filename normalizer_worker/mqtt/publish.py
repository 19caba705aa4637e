"""Parses a PUBLISH of MQTT 5. Unlike paho's parser this one is fast, and no malformed property makes it fail."""

from typing import NamedTuple

_RESPONSE_TOPIC = 0x08
_CORRELATION_DATA = 0x09
_FIXED_BYTES = {0x01: 1, 0x02: 4, 0x23: 2}
"""Payload Format Indicator, Message Expiry Interval, Topic Alias."""
_COUNTED = {0x03: 1, _RESPONSE_TOPIC: 1, _CORRELATION_DATA: 1, 0x26: 2}
"""How many strings follow, each after its length: Content Type, Response Topic, Correlation Data, User Property."""
_SUBSCRIPTION_IDENTIFIER = 0x0B


class Message(NamedTuple):
    """A received message; `mid` acknowledges it, only on the connection on which it was received.

    Attributes:
        topic: where it was published.
        payload: its bytes.
        retained: the broker kept it; it may be of any age.
        qos: 0, 1 or 2.
        mid: its packet identifier, 0 where `qos` is.
        response_topic: where its sender wants the receipt; `shared.contract.topics` decides whether it is used.
        correlation: Correlation Data, returned with the receipt.
        properties_bytes: length of all its properties, those above included.

    """

    topic: str
    payload: bytes
    retained: bool
    qos: int
    mid: int
    response_topic: str | None = None
    correlation: bytes | None = None
    properties_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """Length of topic, properties and payload together."""
        return len(self.topic) + self.properties_bytes + len(self.payload)


def read_publish(flags: int, packet: bytes) -> Message:
    """Parse a PUBLISH (section 3.3 of the MQTT 5 specification).

    Args:
        flags: the first byte of the packet.
        packet: what follows the packet's length field.

    """
    at = 2 + int.from_bytes(packet[:2])
    topic = packet[2:at].decode(errors="replace")
    qos, mid = flags >> 1 & 3, 0
    if qos:
        mid = int.from_bytes(packet[at : at + 2])
        at += 2
    length = packet[at]
    at += 1
    if not length:  # nearly always
        return Message(topic, packet[at:], bool(flags & 1), qos, mid)
    length, at = _variable(packet, at - 1)
    end = at + length
    return Message(topic, packet[end:], bool(flags & 1), qos, mid, *answer_wanted(packet[at:end]), length)


def answer_wanted(properties: bytes) -> tuple[str | None, bytes | None]:
    """Return Response Topic and Correlation Data of a PUBLISH, both None where its properties are malformed.

    Section 2.2.2 of the specification lists the properties. If one is repeated that must not be, the last one counts.
    The broker should not deliver malformed properties; if it does, the worker must not stop.
    """
    topic, correlation, at = None, None, 0
    try:
        while at < len(properties):
            kind, at = properties[at], at + 1
            if kind in _FIXED_BYTES:
                at += _FIXED_BYTES[kind]
            elif kind == _SUBSCRIPTION_IDENTIFIER:
                _, at = _variable(properties, at)
            else:
                start = at
                for _ in range(_COUNTED[kind]):
                    start, at = at + 2, at + 2 + int.from_bytes(properties[at : at + 2])
                if kind == _RESPONSE_TOPIC:
                    topic = properties[start:at].decode()
                elif kind == _CORRELATION_DATA:
                    correlation = properties[start:at]
    except (LookupError, UnicodeDecodeError):
        return None, None
    return (topic, correlation) if at == len(properties) else (None, None)


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """Return a Variable Byte Integer, and where it ends."""
    number, shift = 0, 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return number, at
