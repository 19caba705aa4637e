"""Login, TLS and socket options that all MQTT clients share."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client

from shared.runtime.settings import BrokerSettings

CHECK = "check POWER_MQTT_USERNAME and POWER_MQTT_PASSWORD, or POWER_BROKER_URL"
"""Advice for when the broker refuses the connection."""


@dataclass(frozen=True, slots=True)
class Login:
    """A client's login at the broker.

    Attributes:
        username: None for an anonymous connection.
        password: the user's password.
        ca_file: certificates to check the broker's certificate; None for those that the system trusts.
        is_encrypted: whether to use TLS; with a `ca_file` it always is.

    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    is_encrypted: bool = False

    @classmethod
    def of(cls, settings: BrokerSettings) -> Self:
        """Return the login in the settings of a service."""
        broker = settings.broker
        return cls(broker.username, broker.password, settings.mqtt_ca_file, broker.is_encrypted)

    def apply_to(self, client: Client) -> None:
        """Set the login of a client that has not connected yet."""
        client.username_pw_set(self.username, self.password)
        if self.ca_file is not None or self.is_encrypted:
            client.tls_set(None if self.ca_file is None else str(self.ca_file))


ANONYMOUS = Login()


def send_at_once(client: Client) -> None:
    """Switch off Nagle's algorithm (TCP_NODELAY) for a client.

    With it, a packet after a small one waits for the TCP acknowledgement of the first, which takes 40 ms on Linux.
    Receipts, their acknowledgements and small batches are such packets, one after another.
    """

    def opened(_client: Client, _userdata: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    client.on_socket_open = opened
