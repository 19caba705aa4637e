"""The names of what a cluster has in RabbitMQ, and how MQTT topics are written there."""

EXCHANGE = "ships.readings"
"""Spreads the ships over the queues, by a hash of the topic."""
MQTT_EXCHANGE = "amq.topic"
"""Where RabbitMQ publishes what comes over MQTT."""
READINGS_KEY = "ships.*.readings"
"""Which of that are batches."""
QUEUE_PREFIX = "readings."
SEAT_PREFIX = "workers."
QUEUE_ARGUMENTS = {
    "x-queue-type": "quorum",
    "x-single-active-consumer": True,
    "x-delivery-limit": -1,
    "x-overflow": "reject-publish",
    "x-quorum-initial-group-size": 3,
}
"""Without the delivery limit RabbitMQ 4 drops a message after 20 deliveries, which a long outage of the store makes."""


def queue_name(partition: int) -> str:
    """Return the name of a partition's queue."""
    return f"{QUEUE_PREFIX}{partition}"


def seat_name(seat: int) -> str:
    """Return the name of the queue by which a worker has a seat."""
    return f"{SEAT_PREFIX}{seat}"


def routing_key(topic: str) -> str:
    """Return an MQTT topic as RabbitMQ writes it in a routing key."""
    return topic.replace("/", ".")


def topic_of(key: str) -> str:
    """Return a routing key as an MQTT topic. A dot in the topic has become a slash: no topic of ours has one."""
    return key.replace(".", "/")
