"""The MQTT topics: how their names are built and parsed."""

import re

from shared.contract.limits import MAX_RESPONSE_TOPIC_BYTES
from shared.domain.readings import MAX_SHIP

ALL_READINGS = "ships/+/readings"
ALL_RECEIPTS = "ships/+/receipts"
DROPPED = "$SYS/broker/publish/messages/dropped"
"""How many messages the broker has dropped since it started, mostly because a queue was full."""
CANARY = "ships/probe/readings"
"""The worker's canary messages to itself. It matches `ALL_READINGS`, and is the topic of no ship."""
MISTAKEN = (
    *(
        f"{start}/+/{end}"
        for start in ("ship", "Ship", "Ships", "SHIPS", "/ship", "/ships")
        for end in ("reading", "readings")
    ),
    *(f"ships/+/{end}" for end in ("reading", "Reading", "Readings", "READINGS", "readings/", "data")),
    "SHIPS/+/READINGS",
    "spaceships/+/readings",
    "ships/+",
)
"""Topics on which senders publish batches by mistake. None of them overlaps another or `ALL_READINGS`."""
_MISTAKEN = re.compile(r"/?(?:space)?ships?/(0|[1-9]\d{0,15})(?:/(?:readings?|data))?/?", re.ASCII | re.IGNORECASE)
_READINGS = re.compile(r"ships/(0|[1-9]\d{0,15})/readings", re.ASCII)


def readings_topic(ship: int) -> str:
    """Return the topic of a ship's batches."""
    return f"ships/{ship}/readings"


def receipts_topic(ship: int) -> str:
    """Return the topic of a ship's receipts."""
    return f"ships/{ship}/receipts"


def ship_of(topic: str) -> int | None:
    """Return the ship of a readings topic, None where the topic contains no valid `spaceship_id`."""
    match = _READINGS.fullmatch(topic)
    ship = int(match[1]) if match else None
    return ship if ship is None or ship <= MAX_SHIP else None


def meant_topic(topic: str) -> str | None:
    """Return the readings topic that a mistaken one seems to mean, if it is clear which."""
    match = _MISTAKEN.fullmatch(topic)
    return readings_topic(int(match[1])) if match and int(match[1]) <= MAX_SHIP else None


def receipt_topic_for(ship: int, response_topic: str | None) -> str:
    """Return the topic for the receipt of a message, from the ship of its topic and its Response Topic.

    The latter is used under `ships/{ship}/` and under `gateways/`, if the broker accepts it as a topic name. The ship's
    readings topic is not used: the worker would receive its own receipt as a message.
    """
    own, usual = f"ships/{ship}/", receipts_topic(ship)
    not_allowed = (own, "gateways/", readings_topic(ship))
    if response_topic is None or not response_topic.startswith((own, "gateways/")) or response_topic in not_allowed:
        return usual
    is_name = response_topic.isprintable() and "+" not in response_topic and "#" not in response_topic
    return response_topic if is_name and len(response_topic.encode()) <= MAX_RESPONSE_TOPIC_BYTES else usual
