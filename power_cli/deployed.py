"""The broker's address in a compose deployment on this machine, read from `.env`."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from power_cli.init_cluster import ADMIN_URL
from shared.domain.errors import InvalidSettings
from shared.runtime import management_url

HOST, PORT = "POWER_MQTT_HOST", "POWER_MQTT_PORT"
RABBITMQ, RABBITMQ_PORT, PARTITIONS = "POWER_RABBITMQ_URL", "POWER_RABBITMQ_PORT", "POWER_PARTITIONS"
_EVERYWHERE = {"", "0.0.0.0", "::", "[::]"}  # addresses to listen on, not to connect to
_QUOTES = ("'", '"')


def with_broker(environ: Mapping[str, str], file: Path) -> dict[str, str]:
    """Return an environment with the broker's address and port from `.env` added, if it does not name a host itself.

    Args:
        environ: has precedence. If it names a host, that may be another machine, and `.env` is not used at all.
        file: `.env`, which may be missing.

    """
    if HOST in environ:
        return dict(environ)
    settings = _settings(file)
    found = {PORT: settings[PORT]} if settings.get(PORT) else {}
    address = settings.get("POWER_BIND_ADDRESS", "")
    if address not in _EVERYWHERE:
        found[HOST] = address
    return {**found, **environ}


def with_rabbitmq(environ: Mapping[str, str], root: Path) -> dict[str, str]:
    """Return an environment with the address of RabbitMQ's management API, if docker-compose.cluster.yml runs here.

    Args:
        environ: has precedence. If it names an address, `.env` is not used at all.
        root: the folder with `.env` and `secrets`.

    Raises:
        InvalidSettings: the administrator's password cannot be read.

    """
    file = root / "secrets" / ADMIN_URL
    if RABBITMQ in environ or f"{RABBITMQ}_FILE" in environ or not file.exists():
        return dict(environ)
    try:
        admin = management_url.parse(file.read_text("utf-8").strip())
    except OSError as error:
        raise InvalidSettings(f"cannot read {file}: {error.strerror}; set {RABBITMQ}_FILE") from None
    except ValueError as error:
        raise InvalidSettings(f"{file} {error}") from None
    settings = _settings(root / ".env")
    address = settings.get("POWER_BIND_ADDRESS", "")
    host = "127.0.0.1" if address in _EVERYWHERE else address
    url = f"http://{quote(admin.username)}:{quote(admin.password)}@{host}:{settings.get(RABBITMQ_PORT) or 15672}"
    partitions = {PARTITIONS: settings[PARTITIONS]} if settings.get(PARTITIONS) else {}
    return {**partitions, **environ, RABBITMQ: url}


def _settings(file: Path) -> dict[str, str]:
    """Return the `KEY=VALUE` lines of a file; other lines are skipped."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): _unquoted(value.strip()) for name, value in pairs}


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES else value
