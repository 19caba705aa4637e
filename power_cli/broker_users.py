"""The broker's users and roles for Mosquitto's dynamic-security plugin, and their first passwords.

https://mosquitto.org/documentation/dynamic-security/ describes the plugin, its commands and its file.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from shared.contract.topics import ALL_READINGS, ALL_RECEIPTS, CANARY, DROPPED, readings_topic, receipts_topic
from shared.domain.errors import InvalidSettings

CONTROL = "$CONTROL/dynamic-security/v1"
RESPONSE = f"{CONTROL}/response"
ADMIN = "admin"
MONITOR = "monitor"
STATE_FILE = "mosquitto_users.json"
OPTIONS_FILE = "mqtt_monitor_options"
"""The options file of `mosquitto_sub`: user and password are not on its command line, where `ps` would show them."""
SHIP_PREFIX = "ship-"
SECRET_BYTES = 32
SALT_BYTES = 12
"""The only length that Mosquitto 2.0 accepts."""
ITERATIONS = 101
"""Mosquitto's default. More iterations protect passwords that people choose; 256 random bits cannot be guessed."""


def _role(name: str, *, publish: Sequence[str] = (), subscribe: Sequence[str] = ()) -> dict[str, Any]:
    """Return a role that may publish to some topics and receive from others, and nothing else."""
    granted = [("publishClientSend", topic) for topic in publish]
    for topic in subscribe:  # receiving a message needs a right of its own
        granted += [("subscribePattern", topic), ("publishClientReceive", topic)]
    return {"rolename": name, "acls": [{"acltype": kind, "topic": topic, "allow": True} for kind, topic in granted]}


_ROLES = (
    _role(ADMIN, publish=[CONTROL], subscribe=[RESPONSE]),
    _role("gateway", publish=[ALL_READINGS], subscribe=[ALL_RECEIPTS, "gateways/#", DROPPED]),
    _role("worker", publish=[ALL_RECEIPTS, "gateways/#", CANARY], subscribe=[ALL_READINGS, DROPPED]),
    _role(MONITOR, subscribe=["$SYS/#"]),
)
USERS: tuple[str, ...] = tuple(role["rolename"] for role in _ROLES)
"""The users that are not ships; each has the role of its name."""


def ship_user(ship: int) -> str:
    """Return the name of a ship's user, which is also its client identifier."""
    return f"{SHIP_PREFIX}{ship}"


def ship_role(ship: int) -> dict[str, Any]:
    """Return the role of a ship: it publishes its own readings and receives their receipts."""
    return _role(ship_user(ship), publish=[readings_topic(ship)], subscribe=[receipts_topic(ship)])


def ship_client(ship: int, password: str) -> dict[str, Any]:
    """Return the user of a ship, which may connect only with its own client identifier.

    With the identifier of another client it would end that client's connection and take over its session; with the
    worker's, also all messages queued there.
    """
    name = ship_user(ship)
    return {"username": name, "password": password, "clientid": name, "roles": [{"rolename": name}]}


def new_password() -> str:
    """Return a password of 256 random bits."""
    return secrets.token_urlsafe(SECRET_BYTES)


def password_name(user: str) -> str:
    """Return the name of the file with a user's password."""
    return f"mqtt_{user}_password"


FILES: tuple[str, ...] = (*map(password_name, USERS), STATE_FILE, OPTIONS_FILE)
"""The names of all files with the broker's secrets."""


def initial_state(passwords: Mapping[str, str]) -> str:
    """Return the plugin's initial state: `USERS` with their passwords, and no rights for anyone else."""
    state = {
        "clients": [{"username": user, **_hashed(passwords[user]), "roles": [{"rolename": user}]} for user in USERS],
        "roles": _ROLES,
        "defaultACLAccess": {
            "publishClientSend": False,
            "publishClientReceive": False,
            "subscribe": False,
            "unsubscribe": True,
        },
    }
    return json.dumps(state, indent=2) + "\n"


def _hashed(password: str) -> dict[str, str | int]:
    salt = os.urandom(SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return {
        "password": base64.b64encode(digest).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": ITERATIONS,
    }


def missing_passwords(files: Mapping[str, str]) -> dict[str, str]:
    """Generate a password for each of `USERS` that has none; takes and returns the contents of files by name.

    Raises:
        InvalidSettings: a password is empty; or it is missing, but its hash is in the existing state.

    """
    names = [password_name(user) for user in USERS]
    for name in names:
        if not files.get(name, "unknown").strip():
            raise InvalidSettings(f"{name} is empty")
        if name not in files and STATE_FILE in files:
            raise InvalidSettings(
                f"{name} is missing, and the broker knows only its hash: put it back,"
                f" or remove {STATE_FILE} beside it and the broker's data"
            )
    return {name: f"{new_password()}\n" for name in names if name not in files}


def files_from_passwords(files: Mapping[str, str]) -> dict[str, str]:
    """Generate the state and the options of the broker's health check where they are missing; see `missing_passwords`.

    All passwords must exist.
    """
    passwords = {user: files[password_name(user)].strip() for user in USERS}
    made = {STATE_FILE: initial_state(passwords), OPTIONS_FILE: f"-u {MONITOR}\n-P {passwords[MONITOR]}\n"}
    return {name: content for name, content in made.items() if name not in files}
