"""A message as it came over MQTT 5, read by ourselves: no PUBLISH may stop who reads it, and paho takes its time."""

from typing import NamedTuple

from paho.mqtt.properties import VariableByteIntegers

_RESPONSE_TOPIC = 0x08
_CORRELATION_DATA = 0x09
MAX_CORRELATION_BYTES = 128
"""Longest Correlation Data that goes back with a receipt."""
_FIXED_BYTES = {0x01: 1, 0x02: 4, 0x23: 2}
"""Payload Format Indicator, Message Expiry Interval, Topic Alias."""
_COUNTED = {0x03: 1, _RESPONSE_TOPIC: 1, _CORRELATION_DATA: 1, 0x26: 2}
"""How many counted strings follow: Content Type, Response Topic, Correlation Data, User Property."""
_SUBSCRIPTION_IDENTIFIER = 0x0B


class Message(NamedTuple):
    """A message as it came; `mid` is what acknowledges it, on the connection on which it came and on no other.

    Attributes:
        topic: where it was published.
        payload: its bytes.
        retained: it was kept by the broker, and may be of any age.
        qos: 0, 1 or 2.
        mid: its packet identifier, 0 where `qos` is.
        response_topic: where its sender wants the answer; `shared.contract.topics` says whether it is used.
        correlation: what its sender knows the answer by.
        properties_bytes: length of all its properties; those above are a part of them.

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
    """Read a PUBLISH of MQTT 5 (section 3.3 of its specification).

    Args:
        flags: the first byte of the packet.
        packet: what follows the packet's length.

    """
    at = 2 + int.from_bytes(packet[:2])
    topic = packet[2:at].decode(errors="replace")
    qos, mid = flags >> 1 & 3, 0
    if qos:
        mid = int.from_bytes(packet[at : at + 2])
        at += 2
    length = packet[at]
    at += 1
    if not length:  # as it is with nearly every message
        return Message(topic, packet[at:], bool(flags & 1), qos, mid)
    length, at = _variable(packet, at - 1)
    end = at + length
    return Message(topic, packet[end:], bool(flags & 1), qos, mid, *answer_wanted(packet[at:end]), length)


def answer_wanted(properties: bytes) -> tuple[str | None, bytes | None]:
    """Give Response Topic and Correlation Data of a PUBLISH, both None where its properties are not well-formed.

    Section 2.2.2 of the specification names the properties. One that is repeated, though it must not be, counts once,
    as it came last. What is not well-formed the broker should not have passed on: that is no reason to stop.
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


def answer_properties(topic: str, correlation: bytes) -> bytes:
    """Give the properties of a PUBLISH that asks for an answer, packed: what `answer_wanted` reads, and its length."""
    name = topic.encode()
    parts = (_RESPONSE_TOPIC, len(name), name), (_CORRELATION_DATA, len(correlation), correlation)
    packed = b"".join(bytes([kind]) + length.to_bytes(2) + data for kind, length, data in parts)
    return bytes(VariableByteIntegers.encode(len(packed))) + packed  # type: ignore[no-untyped-call]  # paho leaves it so


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """Read a Variable Byte Integer; give it and where it ends."""
    number, shift = 0, 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return number, at
