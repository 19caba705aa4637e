"""`./power ship`: adds, lists and removes the ships that may log in to the broker, without a restart."""

import os
import sys
from argparse import ArgumentParser, Namespace

from power_cli.argument_types import ship_number
from power_cli.broker_control import Answer, Command, carry_out
from power_cli.broker_users import ADMIN, new_password, password_name, ship_client, ship_role, ship_user
from power_cli.deployed import RABBITMQ, with_broker, with_rabbitmq
from power_cli.rabbitmq_ships import RabbitMqShips
from power_cli.ship_lines import list_ships, tell_password
from power_cli.up import ROOT
from shared.domain.errors import InvalidInput, InvalidSettings, Unavailable
from shared.runtime.settings import BrokerAdminSettings, RabbitMqSettings

SETTING = "POWER_MQTT_ADMIN_PASSWORD"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = (
        "POWER_MQTT_HOST, POWER_MQTT_PORT and POWER_MQTT_CA_FILE name the broker, or else .env does. Its"
        f" administrator's password is {SETTING}, or in the file that {SETTING}_FILE names, or in secrets/."
        " With POWER_RABBITMQ_URL, or after ./power init --cluster, the broker is RabbitMQ, as for ./power cluster."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", help="add a ship and print its password, only this once")
    remove = actions.add_parser("remove", help="remove a ship and end its connection")
    for each in (add, remove):
        each.add_argument("ship", type=ship_number, metavar="N", help="number of the ship")
    actions.add_parser("list", help="print the numbers of all ships")


def run(arguments: Namespace) -> int:
    """Add, list or remove ships."""
    environ = with_rabbitmq(os.environ, ROOT)
    if RABBITMQ in environ or f"{RABBITMQ}_FILE" in environ:
        ships = RabbitMqShips(RabbitMqSettings.load(environ).management)
        {"add": ships.add, "list": ships.list, "remove": ships.remove}[arguments.action](arguments)
        return 0
    {"add": _add, "list": _list, "remove": _remove}[arguments.action](arguments)
    return 0


def _add(arguments: Namespace) -> None:
    ship, password = arguments.ship, new_password()
    role = ship_role(ship)
    _, role_made, client_made = _carry_out(
        {"command": "createRole", **role},
        {"command": "modifyRole", **role},  # a role left behind earlier is brought up to date
        {"command": "createClient", **ship_client(ship, password)},
    )
    if client_made.get("error") == "Client already exists":
        raise InvalidInput(f"ship {ship} has a password already; remove it first")
    _check(role_made, client_made)
    tell_password(ship, password)


def _list(_arguments: Namespace) -> None:
    (answer,) = _carry_out({"command": "listClients", "count": -1})
    _check(answer)
    list_ships(answer["data"]["clients"])


def _remove(arguments: Namespace) -> None:
    name = ship_user(arguments.ship)
    client_gone, _ = _carry_out(
        {"command": "deleteClient", "username": name}, {"command": "deleteRole", "rolename": name}
    )
    if client_gone.get("error") == "Client not found":
        raise InvalidInput(f"ship {arguments.ship} has no password")
    _check(client_gone)  # a remaining role without a user is harmless
    sys.stderr.write(f"ship {arguments.ship} is removed; the broker has ended its connection\n")


def _check(*answers: Answer) -> None:
    for answer in answers:
        if "error" in answer:
            raise Unavailable(f"the broker could not {answer['command']}: {answer['error']}")


def _carry_out(*commands: Command) -> list[Answer]:
    environ = with_broker(os.environ, ROOT / ".env")
    if SETTING not in environ and f"{SETTING}_FILE" not in environ:
        file = ROOT / "secrets" / password_name(ADMIN)
        if not os.access(file, os.R_OK):
            raise InvalidSettings(f"cannot read {file}: create it with ./power init, or set {SETTING}_FILE")
        environ[f"{SETTING}_FILE"] = str(file)
    return carry_out(BrokerAdminSettings.load(environ), commands)
