"""A channel on which the broker confirms what is published."""

from pika import BasicProperties
from pika.frame import Method
from pika.spec import Basic

from normalizer_worker.amqp.link import Link


class ConfirmedChannel:
    """Publishes messages, and waits for the confirms of all of them together."""

    def __init__(self, link: Link) -> None:
        """Open the channel."""
        self._link = link
        self.channel = link.channel()
        self._sent = self._refused = 0
        self._unconfirmed: dict[int, None] = {}
        ready: list[object] = []
        self.channel.confirm_delivery(self._confirmed, callback=ready.append)
        link.wait(lambda: bool(ready), "the request for confirms")

    def publish(
        self,
        exchange: str,
        key: str,
        body: bytes,
        properties: BasicProperties | None = None,
        *,
        mandatory: bool = False,
    ) -> None:
        """Send a message; `wait` tells what became of it.

        Raises:
            Unavailable: the connection is lost.

        """
        with self._link.sending():
            self.channel.basic_publish(exchange, key, body, properties, mandatory=mandatory)
        self._sent += 1
        self._unconfirmed[self._sent] = None

    def wait(self, what: str, limit_s: float) -> int:
        """Wait until the broker has confirmed or refused all messages; return how many it has refused since last time.

        Raises:
            Unavailable: the connection is lost, or that takes longer than `limit_s`.

        """
        self._link.wait(lambda: not self._unconfirmed, what, limit_s)
        refused, self._refused = self._refused, 0
        return refused

    def _confirmed(self, frame: Method[Basic.Ack | Basic.Nack]) -> None:
        answer = frame.method
        tag = answer.delivery_tag
        told = [each for each in self._unconfirmed if each <= tag] if answer.multiple else [tag]
        for each in told:
            self._unconfirmed.pop(each, None)
        if isinstance(answer, Basic.Nack):
            self._refused += len(told)
