"""What `./power ship` prints."""

import sys
from collections.abc import Iterable

from power_cli.broker_users import SHIP_PREFIX, ship_user
from shared.contract.topics import readings_topic, receipts_topic


def tell_password(ship: int, password: str) -> None:
    """Print a new ship's password, alone on standard output, and what it may do."""
    sys.stderr.write(
        f"ship {ship}: user and client identifier {ship_user(ship)};"
        f" may publish to {readings_topic(ship)} and subscribe to {receipts_topic(ship)}\n"
        "Any other topic is refused, over MQTT 3.1.1 without a word (docs/mqtt.md, A wrong topic).\n"
        "The broker keeps only a hash: the password is shown only this once.\n"
    )
    sys.stdout.write(f"{password}\n")


def list_ships(users: Iterable[str]) -> None:
    """Print the numbers of the ships among some users."""
    names = (name.removeprefix(SHIP_PREFIX) for name in users if name.startswith(SHIP_PREFIX))
    for ship in sorted(int(name) for name in names if name.isdecimal()):
        sys.stdout.write(f"{ship}\n")
