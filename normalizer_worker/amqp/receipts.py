"""Sends receipts over AMQP, with publisher confirms."""

import logging
from collections.abc import Callable, Sequence

from normalizer_worker.amqp.confirmed import ConfirmedChannel
from normalizer_worker.amqp.link import Link
from normalizer_worker.amqp.message import receipt_properties
from normalizer_worker.mqtt.receipts import Receipt
from shared.contract.topology import MQTT_EXCHANGE, routing_key

log = logging.getLogger(__name__)

CONFIRMED_WITHIN_S = 60.0


class Receipts:
    """Receipts on a channel of their own."""

    def __init__(self, link: Link, refused: Callable[[int], None]) -> None:
        """Open the channel; `refused` is called with the number of receipts that RabbitMQ does not take."""
        self._channel = ConfirmedChannel(link)
        self._refused = refused

    def send(self, receipts: Sequence[Receipt]) -> None:
        """Send receipts, and wait until the broker has confirmed or refused each one.

        A receipt that nobody has subscribed to is confirmed, too.

        Raises:
            Unavailable: the connection is lost, or the broker confirms nothing.

        """
        if not receipts:
            return
        for each in receipts:
            self._channel.publish(MQTT_EXCHANGE, routing_key(each.topic), each.payload, receipt_properties(each))
        refused = self._channel.wait("with confirms of receipts", CONFIRMED_WITHIN_S)
        if refused:
            self._refused(refused)
            log.warning("RabbitMQ does not take %d receipts", refused)
