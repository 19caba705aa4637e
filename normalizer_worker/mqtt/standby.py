"""One worker at a broker: a retained record names the one that has the session, and the others stand by.

Mosquitto ends the connection of the client that has a session when another one connects with its identifier. So a
worker reads the record first, over a connection with another identifier. The record is on `ships/probe/readings`, where
the worker may write and read anyway. Its holder renews it; the holder's last will says that it is gone.
"""

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from shared.contract.topics import CANARY
from shared.domain.errors import Unavailable
from shared.runtime.mqtt_client import ANONYMOUS, Login, send_at_once

log = logging.getLogger(__name__)

GONE = b"gone"
RENEW_S = 30.0
EXPIRES_S = 90
"""How long a record counts after its last renewal: as long as the broker takes to miss a client."""
HANDSHAKE_S = 10.0
PATIENCE_S = 1.5
"""How long a standby waits, when the record is gone, before it takes the session: the holder may be reconnecting."""


class Turn:
    """This worker's place among those at one broker, over one connection after the other."""

    def __init__(self, host: str, port: int, login: Login = ANONYMOUS) -> None:
        """Prepare for a broker."""
        self._host, self._port, self._login = host, port, login
        self.name = ""
        """This worker's name, `ID on HOST`; the ID stays after a restart. Without a name no record is written."""
        self._renewed_s = float("-inf")

    def wait(self, standing_by: Callable[[str], None], stopping: Callable[[], bool]) -> None:
        """Return when no other worker has the session; `standing_by` is told once who has it.

        Raises:
            Unavailable: the broker does not answer, or the process is to end.

        """
        told, patience_s = "", 0.0
        with closing(_Look(self)) as look:
            while True:
                holder = look.holder()
                if self._is_free(holder):
                    # Of several that stand by each waits another time; the others see the first one take the session.
                    until_s = time.monotonic() + patience_s * (1 + secrets.randbelow(100) / 100)
                    while (is_free := self._is_free(look.holder())) and time.monotonic() < until_s:
                        look.read_on(0.05)
                    if is_free or look.is_refused:
                        return
                    continue
                if holder != told:
                    log.warning("standing by: worker %s has the session at the broker", holder)
                    standing_by(f"worker {holder} has the session")
                    told, patience_s = holder, PATIENCE_S
                if stopping():
                    raise Unavailable("the worker was stopped while it stood by")
                look.read_on(0.25)

    def _is_free(self, holder: str) -> bool:
        return holder.partition(" ")[0] in {"", self.name.partition(" ")[0]}

    def connect(self, client: Client, **options: Any) -> None:
        """Connect to the broker, with paho's options.

        Raises:
            Unavailable: it does not answer.

        """
        self._login.apply_to(client)
        send_at_once(client)
        try:
            client.connect(self._host, self._port, **options)
        except OSError as error:
            raise Unavailable(f"no broker at {self._host}:{self._port}: {error}") from None

    def set_will(self, client: Client) -> None:
        """Set the last will: the broker publishes that this worker is gone when its connection breaks."""
        if self.name:
            client.will_set(CANARY, GONE, qos=0, retain=True)

    def renew(self, client: Client) -> None:
        """Say that this worker has the session, where it is time."""
        if self.name and time.monotonic() - self._renewed_s >= RENEW_S:
            self._tell(client)

    def tell(self, client: Client) -> None:
        """Say that this worker has the session, now."""
        self._renewed_s = float("-inf")
        self.renew(client)

    def _tell(self, client: Client) -> None:
        self._renewed_s = time.monotonic()
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it so
        properties.MessageExpiryInterval = EXPIRES_S
        client.publish(CANARY, self.name.encode(), qos=0, retain=True, properties=properties)

    def leave(self, client: Client) -> None:
        """End a connection so that the broker says that this worker is gone."""
        _hang_up(client, ReasonCode(PacketTypes.DISCONNECT, "Disconnect with will message") if self.name else None)


class _Look:
    """A connection beside the session, by which the record is read."""

    def __init__(self, turn: Turn) -> None:
        """Connect, and wait until a record would have come; raise `Unavailable` if the broker does not answer."""
        self.is_refused = False
        """Whether the broker refuses this client: the worker's own connection reports that."""
        self._holder = ""
        self._until_s = float("-inf")
        self._is_subscribed = False
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            f"normalizer-worker-looks-{secrets.token_hex(4)}",
            protocol=MQTTProtocolVersion.MQTTv5,
        )
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._came
        deadline_s = time.monotonic() + HANDSHAKE_S
        turn.connect(client)
        # The broker sends the record, if there is one, before it answers the ping.
        while not self.is_refused and (not self._is_subscribed or client._ping_t):  # noqa: SLF001  # nothing else tells
            if time.monotonic() > deadline_s:
                self.close()
                raise Unavailable(f"the broker did not answer in {HANDSHAKE_S:.0f} s")
            self.read_on(0.1)

    def _connected(self, client: Client, _u: Any, _f: Any, code: ReasonCode, _p: Any) -> None:
        self.is_refused = code.is_failure
        if not self.is_refused:
            client.subscribe(CANARY)

    def _subscribed(self, client: Client, *_: Any) -> None:
        self._is_subscribed = True
        client._send_pingreq()  # noqa: SLF001  # paho has no other way to send one

    def _came(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if not message.payload:
            return  # a canary message
        expires_s = getattr(message.properties, "MessageExpiryInterval", EXPIRES_S)
        self._until_s = time.monotonic() + expires_s
        self._holder = "" if message.payload == GONE else message.payload.decode("utf-8", "replace")

    def holder(self) -> str:
        """Return the name of the worker that has the session, or an empty text."""
        return self._holder if time.monotonic() < self._until_s else ""

    def read_on(self, wait_s: float) -> None:
        """Take what comes; raise `Unavailable` if the connection is lost."""
        code = self._client._loop(wait_s)  # noqa: SLF001  # `loop` would open sockets to wake it, and leave them open
        if not self.is_refused and (code != MQTTErrorCode.MQTT_ERR_SUCCESS or self._client.socket() is None):
            raise Unavailable("the connection to the broker is lost")

    def close(self) -> None:
        """End the connection."""
        _hang_up(self._client)


def _hang_up(client: Client, code: ReasonCode | None = None) -> None:
    client.disconnect(code)
    sock = client.socket()
    if sock is not None:
        client.loop_write()
        sock.close()
