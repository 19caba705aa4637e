"""What `.env` says of where the broker is, and that the environment knows better."""

from pathlib import Path

import pytest

from power_cli.deployed import with_broker
from power_cli.init import make


def _with(tmp_path: Path, text: str, **environ: str) -> dict[str, str]:
    (tmp_path / ".env").write_text(text, "utf-8")
    return with_broker(environ, tmp_path / ".env")


def test_what_init_writes_is_the_default(tmp_path: Path) -> None:
    make(tmp_path)
    assert with_broker({}, tmp_path / ".env") == {"POWER_MQTT_HOST": "127.0.0.1", "POWER_MQTT_PORT": "1883"}


def test_a_changed_port_and_address_are_found(tmp_path: Path) -> None:
    text = "# POWER_MQTT_PORT=1\n\nno setting\nPOWER_MQTT_PORT=\"2883\"\nPOWER_BIND_ADDRESS='192.0.2.7'\n"
    assert _with(tmp_path, text) == {"POWER_MQTT_HOST": "192.0.2.7", "POWER_MQTT_PORT": "2883"}


@pytest.mark.parametrize("address", ["0.0.0.0", "::", ""])
def test_every_address_is_none_to_connect_to(tmp_path: Path, address: str) -> None:
    assert _with(tmp_path, f"POWER_BIND_ADDRESS={address}\n") == {}


def test_the_environment_wins(tmp_path: Path) -> None:
    text = "POWER_MQTT_PORT=2883\nPOWER_BIND_ADDRESS=192.0.2.7\n"
    assert _with(tmp_path, text, POWER_MQTT_PORT="3883") == {"POWER_MQTT_HOST": "192.0.2.7", "POWER_MQTT_PORT": "3883"}
    elsewhere = {"POWER_MQTT_HOST": "broker.example"}
    assert _with(tmp_path, text, **elsewhere) == elsewhere


def test_without_the_file_nothing_is_added(tmp_path: Path) -> None:
    assert with_broker({"A": "b"}, tmp_path / ".env") == {"A": "b"}
