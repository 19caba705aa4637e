"""Who may do what at the broker: the users and roles of Mosquitto's dynamic-security plugin, and their first passwords.

https://mosquitto.org/documentation/dynamic-security/ describes the plugin, its commands and its file.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.errors import InvalidSettings
from shared.topics import ALL_READINGS, ALL_RECEIPTS, DROPPED, readings_topic, receipts_topic

CONTROL = "$CONTROL/dynamic-security/v1"
RESPONSE = f"{CONTROL}/response"
ADMIN = "admin"
STATE_FILE = "mosquitto_users.json"
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
    _role("worker", publish=[ALL_RECEIPTS, "gateways/#"], subscribe=[ALL_READINGS]),
    _role("monitor", subscribe=["$SYS/#"]),
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


def password_file(folder: Path, user: str) -> Path:
    """Name the file that holds a user's password."""
    return folder / f"mqtt_{user}_password"


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


def mosquitto_secrets(folder: Path) -> None:
    """Make what of the broker's secrets is not there yet: a password file for each of `USERS`, and the first state.

    The folder is for its owner alone. The files in it are not: a container that is given one reads it as another user.

    Raises:
        InvalidSettings: they cannot be written; or a password is lost, and the state that is there holds its hash.

    """
    state = folder / STATE_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        passwords = {user: _password(password_file(folder, user), is_new=not state.exists()) for user in USERS}
        if not state.exists():
            _write(state, initial_state(passwords))
    except OSError as error:
        raise InvalidSettings(f"cannot write secrets to {folder}: {error.strerror}") from None


def _password(file: Path, *, is_new: bool) -> str:
    if not file.exists():
        if not is_new:
            raise InvalidSettings(
                f"{file} is missing, and the broker knows only its hash: put it back,"
                f" or remove {STATE_FILE} beside it and the broker's data"
            )
        _write(file, f"{new_password()}\n")
    password = file.read_text("utf-8").strip()
    if not password:
        raise InvalidSettings(f"{file} is empty")
    return password


def _write(path: Path, content: str) -> None:
    """Write a file that is there whole or not at all, whatever stops this process."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(content, "utf-8")
    part.chmod(0o644)
    part.replace(path)
