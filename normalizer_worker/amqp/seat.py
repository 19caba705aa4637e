"""A worker's seat: the lowest number that no other worker has; RabbitMQ frees it with the worker's connection."""

from pika.channel import Channel
from pika.exceptions import ChannelClosedByBroker
from pika.spec import Basic

from normalizer_worker.amqp.confirmed import ConfirmedChannel
from normalizer_worker.amqp.link import HANDSHAKE_S, Link
from shared.contract.topology import seat_name
from shared.domain.errors import PowerError, Unavailable

_LOCKED = 405
_ARGUMENTS = {"x-message-ttl": 0}
"""What arrives there only asks whether the queue exists."""


class Seat:
    """A queue that is exclusive to its connection stands for each seat that is taken."""

    def __init__(self, link: Link, seats: int) -> None:
        """Take one of so many seats; if none is free, the number is `seats`.

        Raises:
            Unavailable: the broker does not answer.

        """
        self._link = link
        self._returned: set[str] = set()
        self._questions = ConfirmedChannel(link)
        self._questions.channel.add_on_return_callback(self._came_back)
        self.number = next((each for each in self._free(seats) if self._take(each)), seats)

    def lower(self) -> int | None:
        """Return the number of a free lower seat, if there is one."""
        return next(iter(self._free(self.number)), None)

    def _free(self, below: int) -> list[int]:
        """Return the free seats below a number: a message to one that is taken does not come back.

        To declare the queues instead would be an error in RabbitMQ's log for each one that is taken.
        """
        self._returned.clear()
        for each in range(below):
            self._questions.publish("", seat_name(each), b"", mandatory=True)
        self._questions.wait("which seats are free", HANDSHAKE_S)
        return [each for each in range(below) if seat_name(each) in self._returned]

    def _came_back(self, _channel: Channel, method: Basic.Return, _properties: object, _body: bytes) -> None:
        self._returned.add(method.routing_key or "")

    def _take(self, number: int) -> bool:
        """Take a seat, unless another worker has taken it meanwhile."""
        outcome: list[bool] = []

        def closed(why: BaseException) -> PowerError | None:
            if isinstance(why, ChannelClosedByBroker) and why.reply_code == _LOCKED:
                outcome.append(False)
                return None
            return Unavailable(f"no seat: {why}")

        channel = self._link.channel(closed)
        channel.queue_declare(
            seat_name(number), exclusive=True, arguments=_ARGUMENTS, callback=lambda _: outcome.append(True)
        )
        self._link.wait(lambda: bool(outcome), "the request for a seat")
        return outcome[0]
