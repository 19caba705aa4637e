"""Where the service of docker-compose.yml is to be found from this machine: what `.env` says of it."""

from collections.abc import Mapping
from pathlib import Path

HOST, PORT = "POWER_MQTT_HOST", "POWER_MQTT_PORT"
_EVERYWHERE = {"", "0.0.0.0", "::", "[::]"}  # at which nobody can be reached
_QUOTES = ("'", '"')


def with_broker(environ: Mapping[str, str], file: Path) -> dict[str, str]:
    """Add the broker's address and port to an environment, as far as it does not say which broker is meant.

    Args:
        environ: wins; where it names a host, that may be another machine, and nothing of this one counts.
        file: `.env`; one that is not there says nothing.

    """
    if HOST in environ:
        return dict(environ)
    settings = _settings(file)
    found = {PORT: settings[PORT]} if settings.get(PORT) else {}
    address = settings.get("POWER_BIND_ADDRESS", "")
    if address not in _EVERYWHERE:
        found[HOST] = address
    return {**found, **environ}


def _settings(file: Path) -> dict[str, str]:
    """Read simple lines of `KEY=VALUE`, and skip all else."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): _unquoted(value.strip()) for name, value in pairs}


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES else value
