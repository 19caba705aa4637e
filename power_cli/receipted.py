"""Publishes one batch as the gateway does, and waits for the worker's receipt."""

import secrets
from contextlib import closing
from hashlib import sha256
from queue import Empty, SimpleQueue

from ingest_api.delivery.mqtt_link import Link
from shared.contract.receipt import Receipt
from shared.contract.status import BatchKey
from shared.contract.topics import readings_topic
from shared.domain.errors import Unavailable
from shared.runtime.mqtt_client import Login
from shared.runtime.settings import BrokerSettings

WITHIN_S = 30.0


class _Heard:
    """Queues what comes; `Listener` of the connection."""

    def __init__(self) -> None:
        self.events = SimpleQueue[bytes | Unavailable]()

    def refused(self, key: BatchKey, why: str) -> None:  # noqa: ARG002  # there is only one
        self.events.put(Unavailable(f"the broker did not deliver the message: {why}"))

    def receipt(self, payload: bytes, correlation: bytes) -> None:  # noqa: ARG002  # the topic is secret
        self.events.put(payload)

    def dropped(self, count: float) -> None:
        """Do nothing: a message that is dropped gets no receipt."""

    def lost(self) -> None:
        self.events.put(Unavailable("the connection to the broker is lost"))


def publish(settings: BrokerSettings, key: BatchKey, payload: bytes) -> Receipt:
    """Publish a batch, which has the `batch_id` of `key`, and return its receipt.

    Raises:
        Unavailable: the broker does not answer, or there is no receipt in time.

    """
    heard = _Heard()
    topic = f"gateways/{secrets.token_hex(16)}/receipts"
    with closing(Link(*settings.broker.addresses[0], topic, heard, Login.of(settings))) as link:
        link.open()
        link.publish(key, readings_topic(key.ship), payload, sha256(payload).digest())
        try:
            event = heard.events.get(timeout=WITHIN_S)
        except Empty:
            raise Unavailable(f"no receipt came in {WITHIN_S:.0f} s: is the worker running?") from None
    if isinstance(event, Unavailable):
        raise event
    return Receipt.model_validate_json(event)
