"""`./power delete`: deletes a ship's readings in a span of time."""

import sys
from argparse import ArgumentParser, Namespace
from urllib.parse import urlencode
from uuid import uuid4

import urllib3
from urllib3.exceptions import HTTPError

from power_cli import sending
from power_cli.argument_types import add_url, ship_number, timestamp_us
from shared.contract.limits import MAX_WAIT_S
from shared.domain.errors import Unavailable
from shared.domain.timestamps import iso

STORED, ACCEPTED = 201, 202


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--ship", type=ship_number, required=True, metavar="N", help="its number")
    for name, what in (("start", "included"), ("end", "excluded")):
        parser.add_argument(
            f"--{name}", type=timestamp_us, required=True, metavar="TIME", help=f"{name} of the span, {what}"
        )
    parser.epilog = (
        "Deletes the readings that were sent until now; readings that are sent afterwards count again. GET"
        " /ships/N/deletions lists what was deleted. POWER_API_TOKEN is the access token, if the service requires one."
    )
    add_url(parser)


def run(arguments: Namespace) -> int:
    """Delete, and wait until it is done."""
    span = f"from {iso(arguments.start)} to {iso(arguments.end)}"
    asked = {
        "spaceship_id": arguments.ship,
        "start": iso(arguments.start),
        "end": iso(arguments.end),
        "batch_id": str(uuid4()),
    }
    headers = {"Prefer": f"wait={MAX_WAIT_S}", **sending.authorization()}
    address = f"{arguments.url}/data?{urlencode(asked)}"
    try:
        response = urllib3.request("DELETE", address, headers=headers, timeout=sending.TIMEOUT, retries=False)
    except HTTPError:
        raise sending.no_service(arguments.url) from None
    if response.status in sending.TEMPORARY:
        raise Unavailable(f"{arguments.url} cannot accept it now: try again in a moment")
    if response.status not in {STORED, ACCEPTED}:
        raise sending.refusal(arguments.url, "the deletion", response, "DELETE /data")
    done = "are deleted" if response.status == STORED else "will be deleted soon"
    sys.stdout.write(f"the readings of ship {arguments.ship} {span} {done}\n")
    return 0
