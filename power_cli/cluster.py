"""`./power cluster`: declares what a cluster needs in RabbitMQ, and shows how its partitions stand."""

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from power_cli.argument_types import positive
from power_cli.cluster_status import table
from power_cli.declaring import Declaring, check_server
from power_cli.deployed import with_rabbitmq
from power_cli.management import ManagementApi
from power_cli.up import ROOT
from shared.runtime.settings import PartitionSettings, RabbitMqSettings


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = (
        "POWER_RABBITMQ_URL, or the file that POWER_RABBITMQ_URL_FILE names, has the address of RabbitMQ's management"
        " API with the login of an administrator: http://USER:PASSWORD@HOST:15672, and /VHOST where the service is not"
        " to use the virtual host /. After ./power init --cluster, it is that of docker-compose.cluster.yml."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    declare = actions.add_parser("declare", help="make exchange, queues, bindings, policies and users where missing")
    declare.add_argument(
        "--partitions",
        type=positive,
        metavar="P",
        help="number of queues; never changed later (default POWER_PARTITIONS, or 64)",
    )
    declare.add_argument(
        "--secrets",
        type=Path,
        default=ROOT / "secrets",
        metavar="DIR",
        help="folder for the passwords of the users; missing ones are made (default secrets)",
    )
    actions.add_parser("status", help="print queues, owners, depth, epochs and lag")


def run(arguments: Namespace) -> int:
    """Declare the topology, or print how it stands."""
    environ = with_rabbitmq(os.environ, ROOT)
    api = ManagementApi(RabbitMqSettings.load(environ).management)
    if arguments.action == "status":
        sys.stdout.write(table(api))
        return 0
    check_server(api)
    partitions = arguments.partitions or PartitionSettings.load(environ).partitions
    declaring = Declaring(api)
    declaring.topology(partitions)
    declaring.users(arguments.secrets)
    for line in declaring.changes or ["Nothing had to be changed."]:
        sys.stdout.write(f"{line}\n")
    return 0
