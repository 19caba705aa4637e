"""The worker's end of AMQP: one connection, which consumes the queues of all partitions."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial

from pika import BasicProperties
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic

from normalizer_worker.amqp.inbox import Inbox
from normalizer_worker.amqp.link import HEARTBEAT_S, NOT_DECLARED, Link
from normalizer_worker.amqp.message import read_delivery
from normalizer_worker.amqp.receipts import Receipts
from normalizer_worker.amqp.seat import Seat
from normalizer_worker.amqp.seats import priorities
from normalizer_worker.mqtt.acknowledgements import Done
from normalizer_worker.mqtt.keepalive import Keepalive
from normalizer_worker.mqtt.publish import Message
from shared.contract.topology import queue_name
from shared.domain.errors import InvalidSettings, PowerError, Unavailable

PREFETCH = 500
"""How many unacknowledged messages of one partition the broker sends."""
SEAT_CHECK_S = 10.0
"""How often a worker looks for a lower seat, which is free when another worker is gone for good."""


class AmqpConnection:
    """One connection. Whoever loses it opens another one: what was not acknowledged comes again on that one."""

    def __init__(self, link: Link, partitions: int, name: str, refused: Callable[[int], None]) -> None:
        """Take a seat, and consume the queues of all partitions over an open link, which is closed with this.

        `refused` is called with the number of receipts that will not arrive.

        Raises:
            Unavailable: the broker does not answer.
            InvalidSettings: it lacks a queue, has more than there are partitions, or refuses a right.

        """
        self._link = link
        self._partitions = partitions
        self._inbox = Inbox()
        self._keepalive = Keepalive(self._ping, HEARTBEAT_S / 4)
        try:
            self._check_count(partitions)
            self._channel = link.channel()
            self._receipts = Receipts(link, refused)
            self._seat = Seat(link, partitions)
            self._seat_check_s = time.monotonic() + SEAT_CHECK_S
            self._consume(name)
        except BaseException:
            self.close()
            raise
        self._keepalive.start()

    def _check_count(self, partitions: int) -> None:
        """Check that the broker has no further queue, whose messages nobody would receive."""
        outcome: list[BaseException | None] = []

        def closed(why: BaseException) -> PowerError | None:
            outcome.append(why)
            return None

        channel = self._link.channel(closed)
        further = queue_name(partitions)
        channel.queue_declare(further, passive=True, callback=lambda _: outcome.append(None))
        self._link.wait(lambda: bool(outcome), "whether there is a queue")
        if outcome[0] is None:
            why = f"RabbitMQ has a queue {further}, so it has more than POWER_PARTITIONS={partitions}"
            raise InvalidSettings(f"{why}: set the number with which ./power cluster declare was run")

    def _consume(self, name: str) -> None:
        channel, begun = self._channel, list[Method[Basic.ConsumeOk]]()
        channel.add_on_cancel_callback(self._cancelled)
        channel.basic_qos(prefetch_count=PREFETCH)
        for number, priority in enumerate(priorities(self._seat.number, self._partitions)):
            channel.basic_consume(
                queue_name(number),
                partial(self._came, number),
                consumer_tag=f"{name} #{number}",
                arguments={"x-priority": priority},
                callback=begun.append,
            )
        self._link.wait(lambda: len(begun) == self._partitions, "the consumption", 60)

    def _came(
        self, number: int, _channel: Channel, method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        self._inbox.add(number, read_delivery(method, properties, body))

    def _cancelled(self, _frame: Method[Basic.Cancel]) -> None:
        self._link.fail(Unavailable(f"a queue of RabbitMQ is gone; {NOT_DECLARED}"))

    def next_partition(self, wait_s: float) -> int | None:
        """Return the partition whose messages have waited longest, or None after `wait_s`.

        Raises:
            Unavailable: the connection is lost, or this worker is to take another seat.

        """
        self._check_seat()
        self._read(0)
        deadline_s = time.monotonic() + wait_s
        while (found := self._inbox.next_partition()) is None and (left_s := deadline_s - time.monotonic()) > 0:
            self._read(left_s)
        return found

    def _check_seat(self) -> None:
        if time.monotonic() > self._seat_check_s:
            self._seat_check_s = time.monotonic() + SEAT_CHECK_S
            free = self._seat.lower()
            if free is not None:
                raise Unavailable(f"seat {free} is free: this worker, which has seat {self._seat.number}, moves there")

    def _read(self, wait_s: float) -> None:
        self._link.step(wait_s)
        with self._link.sending():
            for tag in self._inbox.take_put_off():
                self._channel.basic_nack(tag, requeue=True)

    def of(self, partition: int) -> "PartitionSource":
        """Return the messages of one partition as a `Source`."""
        return PartitionSource(self, partition)

    def receive(self, partition: int) -> Message | None:
        """Return the next message of a partition that is here, or None."""
        message = self._inbox.pop(partition)
        if message is None:
            self._read(0)
            message = self._inbox.pop(partition)
        return message

    def finish(self, partition: int, done: Sequence[Done]) -> None:
        """Send receipts, wait until the broker has taken them, and acknowledge the messages.

        Raises:
            Unavailable: the connection is lost; what is not acknowledged comes again.

        """
        self._receipts.send([each.receipt for each in done if each.receipt])
        with self._link.sending():
            for each in done:
                self._channel.basic_ack(each.message.mid)
                self._inbox.finished(partition, each.message)
        self._link.step()

    def kept_alive(self) -> AbstractContextManager[None]:
        """Span what takes long and leaves the connection alone: heartbeats are sent meanwhile."""
        return self._keepalive

    def _ping(self) -> None:
        with suppress(PowerError):  # the owner meets it with its next step
            self._link.step()

    def close(self) -> None:
        """End the connection."""
        self._keepalive.stop()
        self._link.close()


class PartitionSource:
    """The messages of one partition; see `worker.Source`. Waiting is for `AmqpConnection.next_partition`."""

    def __init__(self, connection: AmqpConnection, partition: int) -> None:
        """Keep both."""
        self._connection = connection
        self._partition = partition

    def receive(self, wait_s: float) -> Message | None:  # noqa: ARG002  # other partitions' messages may be here
        """Return the next message that is here, or None."""
        return self._connection.receive(self._partition)

    def finish(self, done: Sequence[Done]) -> None:
        """Send receipts and acknowledge the messages."""
        self._connection.finish(self._partition, done)

    def kept_alive(self) -> AbstractContextManager[None]:
        """See `AmqpConnection.kept_alive`."""
        return self._connection.kept_alive()

    def close(self) -> None:
        """Do nothing: the connection belongs to all partitions."""
