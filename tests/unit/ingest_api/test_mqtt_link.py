"""The properties of a published batch, as paho packs them."""

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest_api.delivery.mqtt_link import AnswerProperties

TEXT = st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"]), max_size=300)


@given(TEXT, st.binary(max_size=20_000))
def test_answer_properties_are_packed_as_paho_packs_them(topic: str, correlation: bytes) -> None:
    expected = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it so
    expected.ResponseTopic, expected.CorrelationData = topic, correlation
    assert AnswerProperties(topic, correlation).pack() == expected.pack()  # type: ignore[no-untyped-call]  # the same
