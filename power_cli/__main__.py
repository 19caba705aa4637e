"""The entry of `./power`: finds the command and runs it."""

import argparse
import importlib
import os
import select
import sys

from shared.domain.errors import PowerError
from shared.runtime.log import log_to_stderr

COMMANDS = {
    "up": "run the whole service on this machine",
    "init": "make the settings and secrets that docker-compose.yml needs, once",
    "digests": "pull the images of docker-compose.yml, and pin them by their digests",
    "simulate": "send plausible readings to a running service",
    "import": "send a CSV's readings to a running service",
    "dead-letters": "list, show and replay the messages that could never be stored",
    "token": "add, list or remove access tokens",
    "ship": "add, list or remove the ships that the broker lets in",
    "openapi": "print the OpenAPI document of the HTTP interface",
    "backtest": "tell how good forecasts of a ship would have been, as a table",
    "bench": "measure how fast it is, as a table",
    "chaos": "kill its processes under load, and compare what is stored with what was promised",
    "test": "run the tests: all, whole layers, or with pytest's arguments; --install installs the programs they start",
    "sbom": "list the packages that the service is installed from, as CycloneDX JSON",
    "check": "run the linters and the type checker",
}
MODULES = {
    "bench": "benchmarks",
    "dead-letters": "power_cli.dead_letters",
    "import": "power_cli.import_csv",
    "token": "power_cli.tokens",
}
"""Those that are not called as their command is."""


INTERRUPTED, UNREAD = 130, 141
"""What a shell gives for SIGINT and SIGPIPE."""


def main(arguments: list[str]) -> int:
    """Run one command and give the exit status."""
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except PowerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped before it was done\n")
        return INTERRUPTED
    except BrokenPipeError:
        if _is_read():  # it was another pipe
            raise
        return UNREAD
    return status


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["test"]:  # all that follows is for pytest, options too
        return int(importlib.import_module("power_cli.test").run(arguments[1:]))
    parser = argparse.ArgumentParser(prog="./power", description="The Spaceship Power Service.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in COMMANDS.items():
        # Modules are loaded only for the command asked for: a quick command stays quick.
        child = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        if arguments[:1] == [name]:
            module = importlib.import_module(MODULES.get(name, f"power_cli.{name}"))
            module.add_arguments(child)
            child.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    log_to_stderr("INFO")
    return int(parsed.run(parsed))


def _is_read() -> bool:
    """Tell whether anybody still reads what is printed; `head` leaves when it has seen enough."""
    out = select.poll()
    out.register(sys.stdout, 0)
    if not out.poll(0):
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed there at the exit
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
