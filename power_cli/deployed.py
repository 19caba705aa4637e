"""The broker's address in a docker-compose.yml deployment on this machine, read from `.env`."""

from collections.abc import Mapping
from pathlib import Path

HOST, PORT = "POWER_MQTT_HOST", "POWER_MQTT_PORT"
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
