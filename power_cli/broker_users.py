"""Who may do what at the broker: the users and roles of Mosquitto's dynamic-security plugin, and their first passwords.

https://mosquitto.org/documentation/dynamic-security/ describes the plugin, its commands and its file.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shared.contract.topics import ALL_READINGS, ALL_RECEIPTS, CANARY, DROPPED, readings_topic, receipts_topic
from shared.domain.errors import InvalidSettings

CONTROL = "$CONTROL/dynamic-security/v1"
RESPONSE = f"{CONTROL}/response"
ADMIN = "admin"
MONITOR = "monitor"
STATE_FILE = "mosquitto_users.json"
OPTIONS_FILE = "mqtt_monitor_options"
"""What `mosquitto_sub` reads its user and password from, so that they do not stand where `ps` shows them."""
SHIP_PREFIX = "ship-"
SECRET_BYTES = 32
SALT_BYTES = 12
"""Mosquitto 2.0 takes no other length."""
ITERATIONS = 101
"""Mosquitto's own number. Slow hashes are for passwords that people choose; nobody can guess 256 random bits."""


def _role(name: str, *, publish: Sequence[str] = (), subscribe: Sequence[str] = ()) -> dict[str, Any]:
    """Make a role that may publish to some topics and read others, and nothing else."""
    granted = [("publishClientSend", topic) for topic in publish]
    for topic in subscribe:  # to be sent a message is a right of its own
        granted += [("subscribePattern", topic), ("publishClientReceive", topic)]
    return {"rolename": name, "acls": [{"acltype": kind, "topic": topic, "allow": True} for kind, topic in granted]}


_ROLES = (
    _role(ADMIN, publish=[CONTROL], subscribe=[RESPONSE]),
    _role("gateway", publish=[ALL_READINGS], subscribe=[ALL_RECEIPTS, "gateways/#", DROPPED]),
    _role("worker", publish=[ALL_RECEIPTS, "gateways/#", CANARY], subscribe=[ALL_READINGS, DROPPED]),
    _role(MONITOR, subscribe=["$SYS/#"]),
)
USERS: tuple[str, ...] = tuple(role["rolename"] for role in _ROLES)
"""Those that are no ships; each has the role of its name."""


def ship_user(ship: int) -> str:
    """Name a ship's user, which is its client identifier, too."""
    return f"{SHIP_PREFIX}{ship}"


def ship_role(ship: int) -> dict[str, Any]:
    """Make the role of a ship: it sends its own readings, and is told what became of them."""
    return _role(ship_user(ship), publish=[readings_topic(ship)], subscribe=[receipts_topic(ship)])


def ship_client(ship: int, password: str) -> dict[str, Any]:
    """Make the user of a ship.

    It may connect under its own client identifier alone. Under another's it would end that one's connection and take
    its session: under the worker's, with all that waits there.
    """
    name = ship_user(ship)
    return {"username": name, "password": password, "clientid": name, "roles": [{"rolename": name}]}


def new_password() -> str:
    """Make a password of 256 random bits."""
    return secrets.token_urlsafe(SECRET_BYTES)


def password_name(user: str) -> str:
    """Name the file that holds a user's password."""
    return f"mqtt_{user}_password"


FILES: tuple[str, ...] = (*map(password_name, USERS), STATE_FILE, OPTIONS_FILE)
"""The broker's secrets."""


def initial_state(passwords: Mapping[str, str]) -> str:
    """Write what the plugin begins with: the users that are no ships, and nothing for anybody else.

    Args:
        passwords: of each of `USERS`.

    """
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
    """Make a password for each of `USERS` that has none.

    Args:
        files: the contents of those of `FILES` that are there, by their names.

    Returns:
        contents of files, by their names.

    Raises:
        InvalidSettings: a password is empty; or it is lost, and the state that is there holds its hash.

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


def made_of_passwords(files: Mapping[str, str]) -> dict[str, str]:
    """Make the first state, and what the broker's health check reads, as far as they are missing.

    Args:
        files: the contents of those of `FILES` that are there, by their names; all passwords are.

    Returns:
        contents of files, by their names.

    """
    passwords = {user: files[password_name(user)].strip() for user in USERS}
    made: dict[str, Callable[[], str]] = {
        STATE_FILE: lambda: initial_state(passwords),
        OPTIONS_FILE: lambda: f"-u {MONITOR}\n-P {passwords[MONITOR]}\n",
    }
    return {name: content() for name, content in made.items() if name not in files}
