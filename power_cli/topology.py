"""What a cluster needs in RabbitMQ, as the management API is told: exchange, queues, bindings, policies, rights."""

import re
from typing import Any, NamedTuple

from power_cli.broker_users import ship_user
from shared.contract.topics import DROPPED, readings_topic, receipts_topic
from shared.contract.topology import (
    EXCHANGE,
    MQTT_EXCHANGE,
    QUEUE_ARGUMENTS,
    QUEUE_PREFIX,
    READINGS_KEY,
    SEAT_PREFIX,
    queue_name,
    routing_key,
)

MQTT_PLUGIN, HASH_PLUGIN = "rabbitmq_mqtt", "rabbitmq_consistent_hash_exchange"
EXCHANGE_TYPE = "x-consistent-hash"
ON_DISK = "khepri_db"
"""The feature flag of the database whose definitions are all on disk."""
OLDEST = (4, 0)
"""The first version with what the queues need."""
WEIGHT = "1"
"""A queue's binding key: each has the same share of the ships."""
QUEUE_BYTES = 512 * 1024 * 1024
"""How much waits in one queue at most. A policy says so, so that it can be changed."""
SUBSCRIPTION_BYTES = 16 * 1024 * 1024
"""The same for what a ship has subscribed to and does not read."""
GATEWAY, WORKER, MONITOR = "gateway", "worker", "monitor"
_SUBSCRIPTIONS = "mqtt-subscription-"


class Rights(NamedTuple):
    """What a user may do, as regular expressions: with queues and exchanges, and on topics of `amq.topic`."""

    configure: str
    write: str
    read: str
    write_topics: str
    read_topics: str
    tags: str = ""


_NOTHING = "^$"
_SHIP = r"ships\.[0-9]{1,16}"
"""Not longer: RabbitMQ takes topics over MQTT that are too long for AMQP, and fails to deliver them again and again."""
_OWN_SUBSCRIPTIONS = rf"^(amq\.topic|{_SUBSCRIPTIONS}.*)$"
USERS = {
    GATEWAY: Rights(
        _OWN_SUBSCRIPTIONS,
        _OWN_SUBSCRIPTIONS,
        _OWN_SUBSCRIPTIONS,
        rf"^{_SHIP}\.readings$",
        rf"^(gateways\..*|{_SHIP}\.receipts|{re.escape(routing_key(DROPPED))})$",  # else RabbitMQ ends the connection
    ),
    WORKER: Rights(
        f"^{re.escape(SEAT_PREFIX)}",
        r"^amq\.(topic|default)$",
        f"^{re.escape(QUEUE_PREFIX)}",
        rf"^(gateways\..*|{_SHIP}\..*)$",
        _NOTHING,
    ),
    MONITOR: Rights(_NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, "monitoring"),
}
"""The users that are not ships."""


def ship_rights(ship: int) -> Rights:
    """Return the rights of a ship: it publishes its own readings and receives their receipts."""
    own = rf"^(amq\.topic|{_SUBSCRIPTIONS}{ship_user(ship)}qos[01])$"
    write, read = (f"^{re.escape(routing_key(topic(ship)))}$" for topic in (readings_topic, receipts_topic))
    return Rights(own, own, own, write, read)


def exchange() -> tuple[str, dict[str, Any]]:
    """Return path and definition of the exchange that spreads the ships."""
    return f"/exchanges/{{vhost}}/{EXCHANGE}", {"type": EXCHANGE_TYPE, "durable": True, "auto_delete": False}


def queue(partition: int) -> tuple[str, dict[str, Any]]:
    """Return path and definition of a partition's queue."""
    return f"/queues/{{vhost}}/{queue_name(partition)}", {"durable": True, "arguments": QUEUE_ARGUMENTS}


def binding(partition: int | None = None) -> tuple[str, str]:
    """Return path and key of a queue's binding, or of that of the exchange."""
    if partition is None:
        return f"/bindings/{{vhost}}/e/{MQTT_EXCHANGE}/e/{EXCHANGE}", READINGS_KEY
    return f"/bindings/{{vhost}}/e/{EXCHANGE}/q/{queue_name(partition)}", WEIGHT


def policies() -> dict[str, dict[str, Any]]:
    """Return the policies by name."""
    return {
        "power-readings": {
            "pattern": f"^{re.escape(QUEUE_PREFIX)}[0-9]+$",
            "definition": {"max-length-bytes": QUEUE_BYTES},
            "apply-to": "quorum_queues",
            "priority": 0,
        },
        "power-subscriptions": {
            "pattern": f"^{_SUBSCRIPTIONS}",
            "definition": {"max-length-bytes": SUBSCRIPTION_BYTES},
            "apply-to": "classic_queues",
            "priority": 0,
        },
    }
