"""Asks RabbitMQ in which partition each ship is, by probes: how its exchange hashes is its own affair."""

import secrets
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from pika import BasicProperties
from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic

from normalizer_worker.amqp.link import Account, Link
from power_cli.topology import EXCHANGE_TYPE, WEIGHT
from shared.contract.topics import readings_topic
from shared.contract.topology import queue_name, routing_key
from shared.domain.columns import I64
from shared.domain.errors import InvalidSettings, PowerError, Unavailable
from shared.runtime.broker_url import Broker

AT_ONCE = 1000
"""How many probes are under way at most."""
DECLARED_S = 60.0
_NOT_FOUND = 404


def partitions_of(broker: Broker, ca_file: Path | None, partitions: int, ships: Sequence[int]) -> I64:
    """Return the partition of each ship.

    The probes go through a temporary exchange of the same type as that of the service, to temporary queues bound in the
    same order as the partitions' queues. All of these end with the connection.

    Raises:
        Unavailable: no node of RabbitMQ answers.
        InvalidSettings: it refuses the login or a right, has another number of partitions, or workers are at work.

    """
    with closing(_connect(broker, ca_file)) as link:
        _check(link, partitions)
        probes = _Probes(link, partitions)
        parts = [probes.send(ships[start : start + AT_ONCE]) for start in range(0, len(ships), AT_ONCE)]
    return np.array([partition for part in parts for partition in part], np.int64)


def _connect(broker: Broker, ca_file: Path | None) -> Link:
    account = Account(broker, ca_file, "power copy")
    *others, last = broker.addresses
    for host, port in others:
        try:
            return Link(account, host, port)
        except Unavailable:
            continue
    return Link(account, *last)


def _check(link: Link, partitions: int) -> None:
    """Check that RabbitMQ has as many queues as there are partitions, and that no worker takes messages out of them."""
    last, further = (_consumers(link, queue_name(number)) for number in (partitions - 1, partitions))
    if last is None or further is not None:
        raise InvalidSettings(
            f"RabbitMQ has not {partitions} partitions, as the store: run ./power cluster declare, or set"
            " POWER_PARTITIONS to the number with which it was run"
        )
    if last:
        raise InvalidSettings("workers of the cluster are at work: stop them first, and start them after the copy")


def _consumers(link: Link, queue: str) -> int | None:
    """Return how many workers consume a queue; None if there is no such queue."""
    outcome: list[int | None] = []

    def closed(why: BaseException) -> PowerError | None:
        if isinstance(why, ChannelClosedByBroker) and why.reply_code == _NOT_FOUND:
            outcome.append(None)
            return None
        return InvalidSettings(f"RabbitMQ refuses to tell of {queue}: {why}; --broker needs a user with all rights")

    channel = link.channel(closed)
    channel.queue_declare(queue, passive=True, callback=lambda told: outcome.append(told.method.consumer_count))
    link.wait(lambda: bool(outcome), f"whether there is a queue {queue}")
    return outcome[0]


class _Probes:
    """A temporary exchange with its queues."""

    def __init__(self, link: Link, partitions: int) -> None:
        """Make them."""
        self._link, self._name = link, f"copy.{secrets.token_hex(8)}"
        self._came: dict[int, int] = {}
        done: list[object] = []
        self._channel = link.channel(self._refused)
        self._channel.exchange_declare(self._name, EXCHANGE_TYPE, auto_delete=True, callback=done.append)
        for number in range(partitions):
            queue = f"{self._name}.{number}"
            self._channel.queue_declare(queue, exclusive=True, callback=done.append)
            self._channel.queue_bind(queue, self._name, WEIGHT, callback=done.append)
            self._channel.basic_consume(queue, partial(self._receive, number), auto_ack=True, callback=done.append)
        link.wait(lambda: len(done) == 1 + 3 * partitions, "the temporary queues", DECLARED_S)

    @staticmethod
    def _refused(why: BaseException) -> PowerError:
        return InvalidSettings(f"RabbitMQ refuses temporary queues: {why}; --broker needs a user with all rights")

    def _receive(
        self, number: int, _channel: Channel, _method: Basic.Deliver, _properties: BasicProperties, body: bytes
    ) -> None:
        self._came[int(body)] = number

    def send(self, ships: Sequence[int]) -> list[int]:
        """Send a probe for each of some ships; return where they came out."""
        self._came.clear()
        for ship in ships:
            self._channel.basic_publish(self._name, routing_key(readings_topic(ship)), str(ship).encode())
        self._link.wait(lambda: len(self._came) == len(ships), "where ships belong")
        return [self._came[ship] for ship in ships]
