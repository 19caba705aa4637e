"""The names of the MQTT topics, built and parsed in one place."""

import re

from shared.domain.readings import MAX_SHIP

ALL_READINGS = "ships/+/readings"
ALL_RECEIPTS = "ships/+/receipts"
DROPPED = "$SYS/broker/publish/messages/dropped"
"""How many messages the broker has dropped since it started: because a queue was full, mostly."""
CANARY = "ships/probe/readings"
"""On it the worker sends to itself: among `ALL_READINGS`, and no ship's."""
MAX_RESPONSE_TOPIC_BYTES = 128
"""Far from where Mosquitto ends the connection of whoever publishes: at more than 200 levels."""
_READINGS = re.compile(r"ships/(0|[1-9]\d{0,15})/readings", re.ASCII)


def readings_topic(ship: int) -> str:
    """Name the topic on which a ship's readings travel."""
    return f"ships/{ship}/readings"


def receipts_topic(ship: int) -> str:
    """Name the topic on which a ship is told what became of its batches."""
    return f"ships/{ship}/receipts"


def ship_of(topic: str) -> int | None:
    """Give the ship of a readings topic, None where the name holds no `spaceship_id`."""
    match = _READINGS.fullmatch(topic)
    ship = int(match[1]) if match else None
    return ship if ship is None or ship <= MAX_SHIP else None


def answer_topic(ship: int, asked: str | None) -> str:
    """Name the topic for the receipt of a ship's batch.

    Args:
        ship: whose batch it is.
        asked: the Response Topic of its message. It is honoured under `ships/{ship}/` and under `gateways/`, where it
            is a topic that the broker takes without ending our connection, and not the one of the ship's readings: a
            receipt there would come back as a message.

    """
    own, usual = f"ships/{ship}/", receipts_topic(ship)
    if asked is None or not asked.startswith((own, "gateways/")) or asked in (own, "gateways/", readings_topic(ship)):
        return usual
    is_name = asked.isprintable() and "+" not in asked and "#" not in asked
    return asked if is_name and len(asked.encode()) <= MAX_RESPONSE_TOPIC_BYTES else usual
