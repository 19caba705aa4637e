"""`./power chaos`: kills processes under load, then compares what is stored with what was accepted."""

import importlib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from power_cli.argument_types import add_data, add_store
from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings

HARNESS = "tests.support.chaos.run"
CLUSTER = "postgresql"
FAULTS = ("acknowledge-first", "gone-at-puback", "repeats-are-new")
CLUSTER_FAULTS = ("no-fence", "fence-only-read", "epoch-not-raised")
"""Those of what only a cluster has."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--minutes", type=_minutes, default=1.0, metavar="M", help="duration in minutes (default 1)")
    parser.add_argument("--seed", type=int, metavar="S", help="random seed (default: a new one each time)")
    add_store(
        parser,
        "the store to test (default embedded); influxdb starts an InfluxDB 1.x, and kills it like the others;"
        " postgresql starts a cluster: three RabbitMQ nodes, PostgreSQL, two gateways and three workers",
        CLUSTER,
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the report to this file, as JSON")
    parser.add_argument(
        "--plant", choices=(*FAULTS, *CLUSTER_FAULTS), help="plant a fault in processes; the run should find it"
    )
    add_data(parser, "folder for the run's data, which is kept if a difference is found")


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise ArgumentTypeError(f"should be a number of minutes above 0, not {text!r}")
    return minutes


def run(arguments: Namespace) -> int:
    """Run it; the status is 1 if there is any difference."""
    if arguments.plant in CLUSTER_FAULTS and arguments.store != CLUSTER:
        raise InvalidSettings(f"--plant {arguments.plant} needs --store {CLUSTER}")
    if not (ROOT / "tests").is_dir():
        raise InvalidSettings(f"./power chaos needs the folder tests, which is not in {ROOT}")
    harness = importlib.import_module(HARNESS)  # by name, so that power_cli does not depend on the tests
    return int(harness.command(arguments))
