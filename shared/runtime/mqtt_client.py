"""How a client of MQTT shows who it is to the broker, learns over TLS that it is the right one, and sends at once."""

import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client

from shared.runtime.settings import BrokerSettings

CHECK = "check POWER_MQTT_USERNAME and POWER_MQTT_PASSWORD"
"""What somebody whom the broker refuses should look at."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who a client is.

    Attributes:
        username: of a user of the broker; None is nobody.
        password: the user's.
        ca_file: the certificates by which the broker's is known; None is a connection without TLS.

    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    @classmethod
    def of(cls, settings: BrokerSettings) -> Self:
        """Take it from the settings of a service."""
        return cls(settings.mqtt_username, settings.mqtt_password, settings.mqtt_ca_file)

    def apply_to(self, client: Client) -> None:
        """Give it to a client that has not connected yet."""
        client.username_pw_set(self.username, self.password)
        if self.ca_file is not None:
            client.tls_set(str(self.ca_file))


ANONYMOUS = Login()


def send_at_once(client: Client) -> None:
    """Have small packets not wait for one another.

    Without it, what follows a small packet stays here until the broker's system confirms the first, and that takes its
    time: 40 ms on Linux. A receipt, its confirmation and the next batch are small packets, one after the other.
    """

    def opened(_client: Client, _userdata: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    client.on_socket_open = opened
