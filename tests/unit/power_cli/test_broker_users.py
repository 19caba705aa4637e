"""The broker's secrets: made once, for nobody else to guess, and never overwritten."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from power_cli.broker_users import (
    ADMIN,
    STATE_FILE,
    USERS,
    initial_state,
    mosquitto_secrets,
    password_file,
    ship_client,
    ship_role,
)
from shared.errors import InvalidSettings

PASSWORDS = {user: f"of {user}" for user in USERS}


def _content(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text("utf-8") for file in folder.iterdir()}


def test_every_user_gets_a_password_of_its_own(tmp_path: Path) -> None:
    mosquitto_secrets(tmp_path / "secrets")
    content = _content(tmp_path / "secrets")
    assert set(content) == {STATE_FILE, *(f"mqtt_{user}_password" for user in USERS)}
    state = content.pop(STATE_FILE)
    assert len(set(content.values())) == len(USERS) == 4
    assert all(len(password.strip()) == 43 for password in content.values())
    assert not any(password.strip() in state for password in content.values())


def test_what_is_there_stays(tmp_path: Path) -> None:
    mosquitto_secrets(tmp_path)
    before = _content(tmp_path)
    mosquitto_secrets(tmp_path)
    assert _content(tmp_path) == before


def test_a_password_that_somebody_chose_is_the_one_that_counts(tmp_path: Path) -> None:
    password_file(tmp_path, ADMIN).write_text("chosen\n", "utf-8")
    mosquitto_secrets(tmp_path)
    assert password_file(tmp_path, ADMIN).read_text("utf-8") == "chosen\n"
    (admin,) = (each for each in _state(tmp_path)["clients"] if each["username"] == ADMIN)
    assert _hash("chosen", admin) == admin["password"]


def test_an_empty_password_is_none(tmp_path: Path) -> None:
    password_file(tmp_path, ADMIN).write_text(" \n", "utf-8")
    with pytest.raises(InvalidSettings, match="mqtt_admin_password is empty"):
        mosquitto_secrets(tmp_path)
    assert not (tmp_path / STATE_FILE).exists()


def test_a_lost_password_is_not_replaced_by_one_that_the_broker_does_not_know(tmp_path: Path) -> None:
    mosquitto_secrets(tmp_path)
    password_file(tmp_path, "worker").unlink()
    with pytest.raises(InvalidSettings, match="mqtt_worker_password is missing"):
        mosquitto_secrets(tmp_path)
    (tmp_path / STATE_FILE).unlink()
    mosquitto_secrets(tmp_path)
    assert password_file(tmp_path, "worker").exists()


def test_the_folder_is_its_owners_and_a_container_may_read_the_file_that_it_is_given(tmp_path: Path) -> None:
    mosquitto_secrets(tmp_path / "secrets")
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "secrets").iterdir()} == {0o644}


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(InvalidSettings, match="cannot write secrets to"):
        mosquitto_secrets(tmp_path / "file" / "secrets")


def test_the_same_password_never_has_the_same_hash() -> None:
    first, second = (json.loads(initial_state(PASSWORDS))["clients"] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert one["password"] != other["password"]
        assert _hash(PASSWORDS[one["username"]], one) == one["password"]


def test_nothing_is_granted_to_everybody() -> None:
    """Not even to be sent what one could not subscribe to."""
    access = json.loads(initial_state(PASSWORDS))["defaultACLAccess"]
    assert [kind for kind, granted in access.items() if granted] == ["unsubscribe"]


def test_a_ship_has_one_role_and_one_client_identifier() -> None:
    client = ship_client(42, "secret")
    assert client == {
        "username": "ship-42",
        "password": "secret",
        "clientid": "ship-42",
        "roles": [{"rolename": "ship-42"}],
    }
    assert {each["topic"] for each in ship_role(42)["acls"]} == {"ships/42/readings", "ships/42/receipts"}


def _state(folder: Path) -> dict[str, list[dict[str, str]]]:
    state: dict[str, list[dict[str, str]]] = json.loads((folder / STATE_FILE).read_text("utf-8"))
    return state


def _hash(password: str, client: dict[str, str]) -> str:
    salt, iterations = base64.b64decode(client["salt"]), int(client["iterations"])
    return base64.b64encode(hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)).decode()
