"""The address of RabbitMQ's management API, `POWER_RABBITMQ_URL`."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Management:
    """The API, and its administrator.

    Attributes:
        url: scheme, host and port.
        username: the administrator.
        password: the administrator's password.
        vhost: the virtual host that the service uses.
        ca_file: certificates to check the server's certificate; None for those that the system trusts.

    """

    url: str
    username: str
    password: str = field(repr=False)
    vhost: str = "/"
    ca_file: Path | None = None


def parse(url: str, ca_file: Path | None = None) -> Management:
    """Parse ``http[s]://USER:PASSWORD@HOST[:PORT][/VHOST]``; special characters are percent-encoded.

    Raises:
        ValueError: the URL is wrong; the message does not repeat it, because it has a password.

    """
    try:
        parts = urlsplit(url)
        port = parts.port or 15672
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in {"http", "https"} or not (parts.hostname and parts.username and parts.password):
        raise ValueError("should be an address such as http://admin:password@host:15672")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    vhost = unquote(parts.path.strip("/")) or "/"
    address = f"{parts.scheme}://{host}:{port}"
    return Management(address, unquote(parts.username), unquote(parts.password), vhost, ca_file)
