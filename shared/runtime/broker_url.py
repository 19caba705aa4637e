"""The address of the broker as one URL, `POWER_BROKER_URL`: how it is spoken to, where it is, and who logs in."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

PORTS = {"mqtt": 1883, "mqtts": 8883, "amqp": 5672, "amqps": 5671}
"""The ports where a URL has none, by scheme."""
_URL = re.compile(
    r"(?P<scheme>\w+)://(?:(?P<user>[^:@/]+)(?::(?P<password>[^@/]*))?@)?(?P<hosts>[^@/?#]+)(?:/(?P<vhost>[^/?#]*))?"
)
_HOST = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
MAX_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker, of one node or several.

    Attributes:
        scheme: one of `PORTS`.
        addresses: host and port of each node; any of them will do.
        username: None for an anonymous connection.
        password: the user's password.
        vhost: the virtual host of RabbitMQ; empty for the usual one.

    """

    scheme: str
    addresses: tuple[tuple[str, int], ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    vhost: str = ""

    @property
    def is_amqp(self) -> bool:
        """Whether AMQP is spoken, not MQTT."""
        return self.scheme.startswith("amqp")

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self.scheme.endswith("s")

    def __str__(self) -> str:
        """Return the addresses, for messages."""
        return ", ".join(f"{host}:{port}" for host, port in self.addresses)


def parse(url: str) -> Broker:
    """Parse ``SCHEME://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…][/VHOST]``; special characters are percent-encoded.

    On MQTT a virtual host becomes a part of the user's name, as RabbitMQ wants it.

    Raises:
        ValueError: the URL is wrong; the message does not repeat it, because it may have a password.

    """
    found = _URL.fullmatch(url)
    if found is None or found["scheme"] not in PORTS:
        raise ValueError("should be an address such as mqtt://user:password@host:1883")
    scheme = found["scheme"]
    user, password, vhost = (
        None if each is None else unquote(each) for each in found.group("user", "password", "vhost")
    )
    if vhost and scheme.startswith("mqtt"):
        if user is None:
            raise ValueError("names a virtual host, so it must have a user, too")
        user, vhost = f"{vhost}:{user}", ""
    addresses = tuple(_address(each, PORTS[scheme]) for each in found["hosts"].split(","))
    return Broker(scheme, addresses, user, password, vhost or "")


def _address(text: str, port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or port) if found else 0
    if found is None or not 0 < port <= MAX_PORT:
        raise ValueError("should name a host, or HOST:PORT, or several of them with commas between")
    return found["host"].strip("[]"), port
