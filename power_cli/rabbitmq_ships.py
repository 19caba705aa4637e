"""`./power ship` where the broker is RabbitMQ."""

import sys
from argparse import Namespace
from contextlib import suppress

from power_cli.broker_users import new_password, ship_user
from power_cli.declaring import Declaring
from power_cli.management import ManagementApi, NotThere
from power_cli.ship_lines import list_ships, tell_password
from power_cli.topology import ship_rights
from shared.domain.errors import InvalidInput
from shared.runtime.management_url import Management


class RabbitMqShips:
    """The ships that may log in."""

    def __init__(self, account: Management) -> None:
        """Prepare; nothing is asked yet."""
        self._api = ManagementApi(account)

    def add(self, arguments: Namespace) -> None:
        """Add a ship, and print its password."""
        ship, password = arguments.ship, new_password()
        with suppress(NotThere):
            self._api.get(f"/users/{ship_user(ship)}")
            raise InvalidInput(f"ship {ship} has a password already; remove it first")
        Declaring(self._api).user(ship_user(ship), password, ship_rights(ship))
        tell_password(ship, password)

    def list(self, _arguments: Namespace) -> None:
        """Print the numbers of all ships."""
        list_ships(each["user"] for each in self._api.get("/vhosts/{vhost}/permissions"))

    def remove(self, arguments: Namespace) -> None:
        """Remove a ship, and end its connection."""
        name = ship_user(arguments.ship)
        try:
            self._api.delete(f"/users/{name}")
        except NotThere:
            raise InvalidInput(f"ship {arguments.ship} has no password") from None
        with suppress(NotThere):  # where it has no connection
            self._api.delete(f"/connections/username/{name}")
        sys.stderr.write(f"ship {arguments.ship} is removed; the broker has ended its connection\n")
