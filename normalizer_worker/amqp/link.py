"""One connection to RabbitMQ and a channel on it, driven from one thread: nothing happens but in `step`."""

import logging
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pika import ConnectionParameters, PlainCredentials, SSLOptions
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.channel import Channel
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from shared.domain.errors import InvalidSettings, PowerError, Unavailable
from shared.runtime.broker_url import Broker

HEARTBEAT_S = 5
"""RabbitMQ gives the partitions of a worker that is silent for two to three times as long to others."""
CONNECT_S = 3
HANDSHAKE_S = 10.0
CLOSE_S = 1.0
CHECK = "check the user, the password and the virtual host in POWER_BROKER_URL"
NOT_DECLARED = "run ./power cluster declare"
_WRONG_LOGIN = (AuthenticationError, ProbableAccessDeniedError, ProbableAuthenticationError)
_REFUSED = 403
_NOT_FOUND = 404
logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it says is in the errors, too


@dataclass(frozen=True, slots=True)
class Account:
    """Where a worker connects, and as whom.

    Attributes:
        broker: the broker, and who logs in.
        ca_file: certificates to check the broker's certificate; None for those that the system trusts.
        name: the worker's name, which RabbitMQ shows.

    """

    broker: Broker
    ca_file: Path | None
    name: str

    def parameters(self, host: str, port: int) -> ConnectionParameters:
        """Return pika's parameters for one of the broker's nodes."""
        broker = self.broker
        context = ssl.create_default_context(cafile=self.ca_file) if broker.is_encrypted else None
        return ConnectionParameters(
            host,
            port,
            broker.vhost or "/",
            PlainCredentials(broker.username or "guest", broker.password or "guest"),
            heartbeat=HEARTBEAT_S,
            socket_timeout=CONNECT_S,
            stack_timeout=HANDSHAKE_S,
            connection_attempts=1,
            ssl_options=SSLOptions(context, host) if context else None,
            client_properties={"connection_name": self.name},
        )


class Link:
    """A connection; thrown away after any trouble."""

    def __init__(self, account: Account, host: str, port: int) -> None:
        """Connect to one node.

        Raises:
            Unavailable: it does not answer.
            InvalidSettings: it refuses the login.

        """
        self._where = f"RabbitMQ at {host}:{port}"
        self._error: PowerError | None = None
        self._is_open = self._is_closed = False
        self._loop = IOLoop()
        self._loop.activate_poller()
        self._connection = SelectConnection(
            account.parameters(host, port),
            on_open_callback=self._opened,
            on_open_error_callback=self._failed,
            on_close_callback=self._ended,
            custom_ioloop=self._loop,
        )
        try:
            self.wait(lambda: self._is_open, "the connection", HANDSHAKE_S + CONNECT_S)
        except BaseException:
            self.close()
            raise

    def _opened(self, _connection: SelectConnection) -> None:
        self._is_open = True

    def _failed(self, _connection: SelectConnection, error: BaseException) -> None:
        self._is_closed = True
        causes = _causes(error)
        if any(isinstance(each, _WRONG_LOGIN) for each in causes):
            self._error = InvalidSettings(f"{self._where} refuses the login; {CHECK}")
        else:
            why = next((str(each) for each in causes if isinstance(each, OSError)), "") or type(error).__name__
            self._error = Unavailable(f"no {self._where}: {why}")

    def _ended(self, _connection: SelectConnection, why: BaseException) -> None:
        self._is_closed = True
        if self._error is None:
            self._error = self._lost(why)

    def _lost(self, why: BaseException) -> Unavailable:
        return Unavailable(f"the connection to {self._where} is lost: {_said(why)}")

    def channel(self, then: Callable[[BaseException], PowerError | None] | None = None) -> Channel:
        """Open a channel; `then` says what its end by the broker means, where that is no reason to give up."""
        opened: list[Channel] = []
        with self.sending():
            channel: Channel = self._connection.channel(on_open_callback=opened.append)

        def closed(_channel: Channel, why: BaseException) -> None:
            error = (then or self._meaning)(why)
            if self._error is None:
                self._error = error

        channel.add_on_close_callback(closed)
        self.wait(lambda: bool(opened), "the channel")
        return channel

    def _meaning(self, why: BaseException) -> PowerError:
        """Return the error that the end of a channel is."""
        if isinstance(why, ChannelClosedByBroker):
            if why.reply_code == _REFUSED:
                return InvalidSettings(f"{self._where} refuses a right: {why.reply_text}; {NOT_DECLARED}")
            if why.reply_code == _NOT_FOUND and why.reply_text.startswith("NOT_FOUND - no "):
                return InvalidSettings(f"{self._where}: {why.reply_text}; {NOT_DECLARED}")
        return Unavailable(f"{self._where} ended the channel: {_said(why)}")

    def fail(self, error: PowerError) -> None:
        """Have the next `step` raise an error; for callbacks, out of which nothing may be raised."""
        self._error = self._error or error

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Context in which something is sent: the connection may have been lost since the last step.

        Raises:
            Unavailable: it was.
            InvalidSettings: as `step`.

        """
        try:
            yield
        except AMQPError as error:  # of a closed channel pika says so, and not why it is closed
            raise self._error or self._lost(error) from None

    def step(self, wait_s: float = 0) -> None:
        """Send and receive what is there now, or what comes within `wait_s`.

        Raises:
            Unavailable: the connection is lost.
            InvalidSettings: the broker refuses something for good.

        """
        if self._error is None:
            self._turn(wait_s)
        if self._error is not None:
            raise self._error

    def _turn(self, wait_s: float) -> None:
        timeout = self._loop.call_later(wait_s, lambda: None)
        try:
            self._loop.poll()
            self._loop.process_timeouts()
        except (AMQPError, OSError) as error:
            self.fail(self._lost(error))
        self._loop.remove_timeout(timeout)

    def wait(self, is_so: Callable[[], bool], what: str, limit_s: float = HANDSHAKE_S) -> None:
        """Step until something is so.

        Raises:
            Unavailable: it is not so within `limit_s`, or the connection is lost.
            InvalidSettings: as `step`.

        """
        deadline_s = time.monotonic() + limit_s
        while not is_so():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise Unavailable(f"{self._where} did not answer {what} in {limit_s:.0f} s")
            self.step(left_s)

    def close(self) -> None:
        """End the connection, whatever the broker does."""
        deadline_s = time.monotonic() + CLOSE_S
        if self._connection.is_open:
            self._connection.close()
        while not self._is_closed and (left_s := deadline_s - time.monotonic()) > 0:
            self._turn(left_s)
        if not self._is_closed:
            self._connection._terminate_stream(None)  # type: ignore[attr-defined]  # noqa: SLF001  # else it stays open
        self._loop.close()


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and all that it stems from: pika wraps them."""
    inner = [*getattr(error, "exceptions", ()), getattr(error, "exception", None), error.__cause__, *error.args]
    found = [each for each in inner if isinstance(each, BaseException)]
    return [error, *(cause for each in found for cause in _causes(each))]


def _said(why: BaseException) -> str:
    return getattr(why, "reply_text", "") or str(why) or type(why).__name__
