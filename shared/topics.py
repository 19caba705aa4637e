"""The names of the MQTT topics, built and parsed in one place."""

import re

from shared.readings import MAX_SHIP

ALL_READINGS = "ships/+/readings"
ALL_RECEIPTS = "ships/+/receipts"
DROPPED = "$SYS/broker/publish/messages/dropped"
"""How many messages the broker has dropped since it started: because a queue was full, mostly."""
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
