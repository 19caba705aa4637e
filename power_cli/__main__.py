"""Entry point of `./power`: finds the command and runs it."""

import argparse
import importlib
import os
import select
import sys

from shared.domain.errors import PowerError
from shared.runtime.log import log_to_stderr

COMMANDS = {
    "up": "run the whole service on this machine",
    "init": "create the settings and secrets that docker-compose.yml needs",
    "digests": "pull the images of docker-compose.yml and pin them by digest",
    "simulate": "send simulated readings to a running service",
    "import": "send the readings of a file to a running service, and say how it is understood",
    "delete": "delete a ship's readings in a span of time",
    "copy": "copy all ships from one store into another, and compare the two",
    "dead-letters": "list, show, replay, correct or remove messages that could not be stored",
    "token": "add, list or remove access tokens",
    "cluster": "declare what a cluster needs in RabbitMQ, and show its partitions",
    "ship": "add, list or remove the ships that may log in to the broker",
    "dashboards": "make the dashboards for PostgreSQL of those for InfluxDB",
    "openapi": "print the OpenAPI document of the HTTP API",
    "backtest": "score past forecasts of a ship against its stored energy",
    "bench": "measure speed and memory, each beside a baseline",
    "chaos": "kill processes under load, then compare what is stored with what was accepted",
    "test": "run the tests: all, layers or with pytest's arguments; --install installs the programs they start",
    "sbom": "write the software bill of materials as CycloneDX JSON",
    "check": "run linters, formatter, type checker and import contracts",
}
MODULES = {
    "bench": "benchmarks",
    "dead-letters": "power_cli.dead_letters",
    "import": "power_cli.import_file",
    "token": "power_cli.tokens",
}
"""Modules that do not have the name of their command."""
INTERRUPTED, UNREAD = 130, 141
"""The exit statuses that shells give for SIGINT and SIGPIPE."""


def main(arguments: list[str]) -> int:
    """Run one command and return the exit status."""
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except PowerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        if _has_reader():  # another pipe broke
            raise
        return UNREAD
    return status


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["test"]:  # pytest gets all that follows, also options
        return int(importlib.import_module("power_cli.test").run(arguments[1:]))
    parser = argparse.ArgumentParser(prog="./power", description="The Spaceship Power Service.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what in COMMANDS.items():
        # Only the module of the given command is imported, so that quick commands stay quick.
        child = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        if arguments[:1] == [name]:
            module = importlib.import_module(MODULES.get(name, f"power_cli.{name}"))
            if hasattr(module, "add_arguments"):
                module.add_arguments(child)
            child.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    log_to_stderr("INFO")
    return int(parsed.run(parsed))


def _has_reader() -> bool:
    """Tell whether standard output is still read; `head`, for example, closes it early."""
    out = select.poll()
    out.register(sys.stdout, 0)
    if not out.poll(0):
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes the rest there at exit
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
