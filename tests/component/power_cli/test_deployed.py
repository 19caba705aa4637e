"""What `.env` says of where the broker is, and that the environment knows better."""

from pathlib import Path

import pytest

from power_cli.deployed import with_broker, with_rabbitmq
from power_cli.init import make
from shared.domain.errors import InvalidSettings
from shared.runtime.management_url import parse


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


# RabbitMQ, after `./power init --cluster`.

MINE = "POWER_RABBITMQ_URL"


def test_rabbitmq_is_found_with_its_administrator_and_partitions(tmp_path: Path) -> None:
    make(tmp_path, cluster=True)
    found = with_rabbitmq({"OTHER": "stays"}, tmp_path)
    admin = parse((tmp_path / "secrets" / "rabbitmq_admin_url").read_text("utf-8").strip())
    assert found == {
        "OTHER": "stays",
        MINE: f"http://admin:{admin.password}@127.0.0.1:15672",
        "POWER_PARTITIONS": "64",
    }


def test_rabbitmqs_port_and_address_are_those_of_env(tmp_path: Path) -> None:
    make(tmp_path, cluster=True)
    (tmp_path / ".env").write_text("POWER_BIND_ADDRESS=10.0.0.7\nPOWER_RABBITMQ_PORT=6567\n", "utf-8")
    assert with_rabbitmq({}, tmp_path)[MINE].endswith("@10.0.0.7:6567")


@pytest.mark.parametrize("name", [MINE, f"{MINE}_FILE"])
def test_an_address_in_the_environment_counts_alone(tmp_path: Path, name: str) -> None:
    make(tmp_path, cluster=True)
    assert with_rabbitmq({name: "theirs"}, tmp_path) == {name: "theirs"}


def test_without_a_cluster_there_is_no_rabbitmq(tmp_path: Path) -> None:
    make(tmp_path)
    assert with_rabbitmq({}, tmp_path) == {}


def test_an_administrators_file_that_was_spoilt_is_named(tmp_path: Path) -> None:
    make(tmp_path, cluster=True)
    (tmp_path / "secrets" / "rabbitmq_admin_url").write_text("http://rabbitmq", "utf-8")
    with pytest.raises(InvalidSettings, match="rabbitmq_admin_url should be an address"):
        with_rabbitmq({}, tmp_path)
