"""Makes in RabbitMQ what a cluster needs and what is missing there, and tells what it changed."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from power_cli import topology
from power_cli.broker_users import new_password, password_name
from power_cli.management import ManagementApi, NotThere
from power_cli.topology import Rights
from shared.contract.topology import EXCHANGE, MQTT_EXCHANGE, QUEUE_PREFIX, queue_name
from shared.domain.errors import InvalidInput, InvalidSettings
from shared.runtime.private_files import make_private, private_folder

SALT_BYTES = 4


def check_server(api: ManagementApi) -> None:
    """Check the version of RabbitMQ, and the plugins.

    Raises:
        InvalidSettings: a node lacks something; the message says what to do.

    """
    overview = api.get("/overview")
    version = overview["rabbitmq_version"]
    if tuple(int(each) for each in version.split(".")[:2]) < topology.OLDEST:
        raise InvalidSettings(f"RabbitMQ {version} is too old: it must be 4.0 or newer")
    if topology.EXCHANGE_TYPE not in {each["name"] for each in overview["exchange_types"]}:
        _lacks(overview["node"], topology.HASH_PLUGIN)
    speaking = {each["node"] for each in overview["listeners"] if each["protocol"].startswith("mqtt")}
    for node in api.get("/nodes?columns=name,running"):
        if node["running"] and node["name"] not in speaking:
            _lacks(node["name"], topology.MQTT_PLUGIN)


def _lacks(node: str, plugin: str) -> NoReturn:
    raise InvalidSettings(
        f"node {node} of RabbitMQ lacks the plugin {plugin}: run there `rabbitmq-plugins enable {plugin}`"
    )


class Declaring:
    """What was found or made. Nothing is ever deleted, and no queue is changed."""

    def __init__(self, api: ManagementApi) -> None:
        """Begin with no changes."""
        self._api = api
        self.changes: list[str] = []
        """What was changed, a line each."""

    def topology(self, partitions: int) -> None:
        """Make exchange, queues, bindings and policies.

        Queues are bound one after the other: which ships a queue gets depends on the order.

        Raises:
            InvalidSettings: something is there in another form, or for another number of partitions.

        """
        self._check_count(partitions)
        self._keep_on_disk()
        if self._make(*topology.exchange()):
            self.changes.append("made the exchange")
        made = [number for number in range(partitions) if self._make(*topology.queue(number))]
        self._changed(made, "queue")
        bound = [number for number in range(partitions) if self._bind(*topology.binding(number))]
        self._changed(bound, "binding")
        if self._bind(*topology.binding()):
            self.changes.append("bound the exchange to the topics of all ships")
        for name, policy in topology.policies().items():
            if self._put(f"/policies/{{vhost}}/{name}", policy):
                self.changes.append(f"set the policy {name}")

    def _keep_on_disk(self) -> None:
        """Have RabbitMQ keep the order of an exchange's queues on disk.

        Its older database, Mnesia, keeps it in memory: when all nodes have been down or paused at one time, the queues
        are in another order, and each ship in another partition. Newer versions have Khepri only, or from the start.
        """
        for flag in self._api.get("/feature-flags"):
            if flag["name"] == topology.ON_DISK and flag["state"] == "disabled":
                self._api.put(f"/feature-flags/{topology.ON_DISK}/enable", {})
                self.changes.append(
                    f"enabled the feature flag {topology.ON_DISK}: RabbitMQ keeps its definitions in Khepri"
                )

    def _changed(self, numbers: list[int], what: str) -> None:
        if numbers:
            names = f"{queue_name(numbers[0])} to {queue_name(numbers[-1])}" if numbers[1:] else queue_name(numbers[0])
            self.changes.append(f"made {len(numbers)} {what}{'s'[: len(numbers) - 1]}: {names}")

    def _check_count(self, partitions: int) -> None:
        names = [each["name"] for each in self._api.get("/queues/{vhost}?columns=name")]
        numbers = [int(each.removeprefix(QUEUE_PREFIX)) for each in names if is_partition(each)]
        bound = self._bound(numbers)
        if bound and (len(bound) != partitions or max(bound) >= partitions):
            raise InvalidSettings(
                f"RabbitMQ has {len(bound)} partitions, not {partitions}: their number cannot be changed, because each"
                f" ship would get another one. Set POWER_PARTITIONS={len(bound)}"
            )

    def _bound(self, numbers: list[int]) -> list[int]:
        """Return the partitions whose queues are bound; an interrupted declaration may have left others."""
        if not numbers:
            return []
        path = f"/exchanges/{{vhost}}/{EXCHANGE}/bindings/source"
        try:
            bound = {each["destination"] for each in self._api.get(path)}
        except NotThere:
            return []
        # It goes on from where it was interrupted, so what is there has to be its beginning.
        found = sorted(number for number in numbers if queue_name(number) in bound)
        return [] if found == list(range(len(found))) and not self._is_open() else found

    def _is_open(self) -> bool:
        """Return whether readings come to the queues: that is the last step of a declaration."""
        path, key = topology.binding()
        return any(each["routing_key"] == key for each in self._api.get(path))

    def _make(self, path: str, definition: Mapping[str, Any]) -> bool:
        """Make an exchange or a queue unless it is there; return whether it was made."""
        try:
            found = self._api.get(path)
        except NotThere:
            self._api.put(path, definition)
            return True
        if any(found.get(name) != value for name, value in definition.items()):
            wrong = self._differences(found, definition)
            raise InvalidSettings(
                f"{path.rpartition('/')[2]} is in RabbitMQ already, with {wrong}: delete it there once it is empty,"
                " then run this again"
            )
        return False

    @staticmethod
    def _differences(found: Mapping[str, Any], definition: Mapping[str, Any]) -> str:
        there, wanted = ({**each, **each.get("arguments", {})} for each in (found, definition))
        names = [name for name in wanted if name != "arguments" and there.get(name) != wanted[name]]
        names += [name for name in found.get("arguments", {}) if name not in wanted]
        return "; ".join(f"{name} {there.get(name, 'missing')}, not {wanted.get(name, 'there')}" for name in names)

    def _bind(self, path: str, key: str) -> bool:
        if any(each["routing_key"] == key for each in self._api.get(path)):
            return False
        self._api.post(path, {"routing_key": key, "arguments": {}})
        return True

    def _put(self, path: str, definition: Mapping[str, Any]) -> bool:
        """Set a policy or a permission; return whether it was another one."""
        try:
            found = self._api.get(path)
        except NotThere:
            found = {}
        found = found[0] if isinstance(found, list) and found else found or {}
        if all(found.get(name) == value for name, value in definition.items()):
            return False
        self._api.put(path, definition)
        return True

    def users(self, secrets: Path) -> None:
        """Make the users that are not ships, with the passwords in a folder; missing ones are made.

        Raises:
            InvalidSettings: the folder cannot be used.

        """
        for name, rights in topology.USERS.items():
            file = secrets / password_name(name)
            try:
                if not file.exists():
                    private_folder(secrets)
                    make_private(file)
                    file.write_text(f"{new_password()}\n", "utf-8")
                    self.changes.append(f"made a password for {name}, in {file}")
                password = file.read_text("utf-8").strip()
            except OSError as error:
                raise InvalidSettings(f"cannot use {file}: {error.strerror}") from None
            if not password:
                raise InvalidSettings(f"{file} is empty")
            self.user(name, password, rights)

    def user(self, name: str, password: str, rights: Rights) -> None:
        """Give a user its password and its rights."""
        path = f"/users/{name}"
        try:
            found = self._api.get(path)
        except NotThere:
            found = {}
        tags = [rights.tags] if rights.tags else []
        if not _is_password(password, found) or found.get("tags") != tags:
            self._api.put(path, {"password": password, "tags": rights.tags})
            self.changes.append(f"{'changed' if found else 'made'} the user {name}")
        permissions = {"configure": rights.configure, "write": rights.write, "read": rights.read}
        topics = {"exchange": MQTT_EXCHANGE, "write": rights.write_topics, "read": rights.read_topics}
        is_new = self._put(f"/permissions/{{vhost}}/{name}", permissions)
        if self._put(f"/topic-permissions/{{vhost}}/{name}", topics) or is_new:
            self.changes.append(f"set the rights of {name}")


def is_partition(name: str) -> bool:
    """Return whether a queue is that of a partition."""
    return name.startswith(QUEUE_PREFIX) and name.removeprefix(QUEUE_PREFIX).isdecimal()


def _is_password(password: str, user: Mapping[str, Any]) -> bool:
    """Return whether a password gives a user's hash: RabbitMQ's is salt, then SHA-256 of salt and password."""
    try:
        kept = base64.b64decode(user.get("password_hash", ""))
    except ValueError:
        raise InvalidInput(f"the password of {user.get('name')} has an unknown form in RabbitMQ") from None
    salt, digest = kept[:SALT_BYTES], kept[SALT_BYTES:]
    return bool(salt) and hashlib.sha256(salt + password.encode()).digest() == digest
