"""The broker's secrets: for nobody else to guess, and none made that is there."""

import base64
import hashlib
import json
from collections.abc import Mapping

import pytest

from power_cli.broker_users import (
    ADMIN,
    FILES,
    OPTIONS_FILE,
    STATE_FILE,
    USERS,
    files_from_passwords,
    initial_state,
    missing_passwords,
    password_name,
    ship_client,
    ship_role,
)
from shared.domain.errors import InvalidSettings

PASSWORDS = {user: f"of {user}" for user in USERS}


def _made(files: Mapping[str, str]) -> dict[str, str]:
    """Make all that is missing beside some files, as `./power init` does."""
    files = {**files, **missing_passwords(files)}
    return {**files, **files_from_passwords(files)}


def test_every_user_gets_a_password_of_its_own() -> None:
    content = _made({})
    assert set(content) == {STATE_FILE, OPTIONS_FILE, *(f"mqtt_{user}_password" for user in USERS)} == set(FILES)
    state, options = content.pop(STATE_FILE), content.pop(OPTIONS_FILE)
    assert len(set(content.values())) == len(USERS) == 4
    assert all(len(password.strip()) == 43 for password in content.values())
    assert not any(password.strip() in state for password in content.values())
    assert options == f"-u monitor\n-P {content['mqtt_monitor_password']}"


def test_what_is_there_is_not_made_again() -> None:
    before = _made({})
    assert (missing_passwords(before), files_from_passwords(before)) == ({}, {})


def test_a_password_that_somebody_chose_is_the_one_that_counts() -> None:
    content = _made({password_name(ADMIN): "chosen\n"})
    assert content[password_name(ADMIN)] == "chosen\n"
    (admin,) = (each for each in json.loads(content[STATE_FILE])["clients"] if each["username"] == ADMIN)
    assert _hash("chosen", admin) == admin["password"]


def test_an_empty_password_is_none() -> None:
    with pytest.raises(InvalidSettings, match="mqtt_admin_password is empty"):
        missing_passwords({password_name(ADMIN): " \n"})


def test_a_lost_password_is_not_replaced_by_one_that_the_broker_does_not_know() -> None:
    content = _made({})
    del content[password_name("worker")]
    with pytest.raises(InvalidSettings, match="mqtt_worker_password is missing"):
        missing_passwords(content)
    del content[STATE_FILE]
    assert set(missing_passwords(content)) == {password_name("worker")}


def test_options_that_are_missing_are_made_of_the_password_that_is_there() -> None:
    content = _made({})
    options = content.pop(OPTIONS_FILE)
    assert files_from_passwords(content) == {OPTIONS_FILE: options}


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


def _hash(password: str, client: dict[str, str]) -> str:
    salt, iterations = base64.b64decode(client["salt"]), int(client["iterations"])
    return base64.b64encode(hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)).decode()
