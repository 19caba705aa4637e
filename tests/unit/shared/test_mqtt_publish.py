"""A PUBLISH of MQTT 5 and its properties, as paho packs and reads them; and whatever else may stand there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt._packet import decode_publish
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from normalizer_worker.mqtt.publish import answer_wanted, read_publish

TEXT = st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]), max_size=300)
TOPICS = st.text(st.characters(exclude_characters="\0+#\ufeff", exclude_categories=["Cs"]), min_size=1, max_size=300)
NOTHING = (None, None)
TOPIC, DATA, TYPE = b"\x08\0\x01t", b"\x09\0\x02xy", b"\x03\0\x04json"


@st.composite
def properties(draw: st.DrawFn) -> Properties:
    made = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it so
    optional = {
        "PayloadFormatIndicator": st.integers(0, 1),
        "MessageExpiryInterval": st.integers(0, 2**32 - 1),
        "ContentType": TEXT,
        "ResponseTopic": TEXT,
        "CorrelationData": st.binary(max_size=20_000),
        "SubscriptionIdentifier": st.integers(1, 2**28 - 1),
        "TopicAlias": st.integers(1, 65535),
        "UserProperty": st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3),
    }
    for name, values in optional.items():
        if draw(st.booleans()):
            setattr(made, name, draw(values))
    return made


def pack(made: Properties) -> bytes:
    packed: bytes = made.pack()  # type: ignore[no-untyped-call]  # paho leaves it so
    return packed


@given(TOPICS, st.binary(max_size=300), st.integers(0x30, 0x33), st.integers(1, 65535), properties())
def test_a_publish_is_read_as_paho_reads_it(topic: str, payload: bytes, flags: int, mid: int, made: Properties) -> None:
    name, identifier = topic.encode(), mid.to_bytes(2) if flags & 2 else b""
    packet = len(name).to_bytes(2) + name + identifier + pack(made) + payload
    expected = decode_publish(flags, packet, MQTTProtocolVersion.MQTTv5)
    answer = (getattr(made, "ResponseTopic", None), getattr(made, "CorrelationData", None))
    read = (topic, expected.payload, expected.retain, expected.qos, expected.mid, *answer)
    message = read_publish(flags, packet)
    assert message[:-1] == read
    packed_bytes = len(pack(made))
    assert message.properties_bytes == packed_bytes - (1 if packed_bytes < 129 else 2 if packed_bytes < 16386 else 3)
    assert message.size_bytes == len(topic) + len(payload) + message.properties_bytes


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_no_property_hides_the_payload_or_stops_us(junk: bytes, payload: bytes) -> None:
    packet = b"\0\1t\0\7" + bytes([len(junk) & 0x7F | 0x80, len(junk) >> 7]) + junk + payload
    message = read_publish(0x32, packet)
    assert (message.topic, message.mid, message.payload) == ("t", 7, payload)


@pytest.mark.parametrize(
    ("junk", "why"),
    [
        (TOPIC + b"\x08\0\x09short", "a string that ends behind the properties"),
        (TOPIC + b"\x08\0", "half a length"),
        (TOPIC + b"\x09", "no length"),
        (TOPIC + b"\x02\0\0", "half a number"),
        (TOPIC + b"\x0b\xff\xff", "a number without an end"),
        (TOPIC + b"\x26\0\1k", "half a pair"),
        (TOPIC + b"\x7f", "an unknown property"),
        (TOPIC + b"\x11\0\0\0\1", "a property of other packets"),
        (b"\x08\0\x01\xff" + DATA, "no UTF-8"),
        (b"\x08\0\x03\xed\xa0\x80" + DATA, "a surrogate"),
        (b"\x00", "nothing"),
    ],
)
def test_malformed_properties_give_no_reply_properties(junk: bytes, why: str) -> None:
    assert answer_wanted(junk) == NOTHING, why


def test_the_answer_is_found_behind_and_before_others() -> None:
    assert answer_wanted(TYPE + TOPIC + b"\x01\1" + DATA + b"\x23\0\1") == ("t", b"xy")
    assert answer_wanted(TYPE) == NOTHING
    assert answer_wanted(TOPIC) == ("t", None)
    assert answer_wanted(DATA) == (None, b"xy")
    assert answer_wanted(b"\x08\0\0\x09\0\0") == ("", b"")
