"""Messages as RabbitMQ delivers them from MQTT, and receipts as it takes them to MQTT."""

from pika import BasicProperties
from pika.spec import Basic

from normalizer_worker.mqtt.publish import Message
from normalizer_worker.mqtt.receipts import Receipt
from shared.contract.topology import topic_of

PERSISTENT = 2
"""RabbitMQ delivers such a message with QoS 1 to who subscribes with it."""
_RESPONSE_TOPIC, _CORRELATION = "x-reply-to-topic", "x-correlation-id"


def read_delivery(method: Basic.Deliver, properties: BasicProperties, body: bytes) -> Message:
    """Return a delivery as a message; `mid` is its delivery tag.

    Correlation Data is a property if it is text, and else a header. A dot in a Response Topic comes as a slash.
    """
    topic, mid = topic_of(method.routing_key or ""), method.delivery_tag or 0
    headers = properties.headers or {}
    if not headers and properties.correlation_id is None:  # nearly always
        return Message(topic, body, False, 1, mid)  # noqa: FBT003  # as `read_publish`
    sent_on = headers.get(_RESPONSE_TOPIC)
    response_topic = topic_of(sent_on) if isinstance(sent_on, str) else None
    correlation = properties.correlation_id if properties.correlation_id is not None else headers.get(_CORRELATION)
    if isinstance(correlation, str):
        correlation = correlation.encode()
    if not isinstance(correlation, bytes):
        correlation = None
    size_bytes = len(correlation or b"") + sum(len(name) + _size(value) for name, value in headers.items())
    return Message(topic, body, False, 1, mid, response_topic, correlation, size_bytes)  # noqa: FBT003


def _size(value: object) -> int:
    return len(value) if isinstance(value, (str, bytes)) else 8


def receipt_properties(receipt: Receipt) -> BasicProperties:
    """Return the properties of a receipt.

    Correlation Data goes back as the property, whatever its bytes are. As a header of bytes it would end the
    connection of the MQTT client that it is sent to, again with every delivery.
    """
    correlation: str | bytes | None = receipt.correlation
    return BasicProperties(delivery_mode=PERSISTENT, correlation_id=correlation)  # type: ignore[arg-type]  # pika sends bytes, too
