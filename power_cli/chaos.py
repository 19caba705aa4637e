"""`./power chaos`: kills the processes of a service under load, and compares what is stored with what was promised."""

import importlib
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path

from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings

HARNESS = "tests.support.chaos.run"
FAULTS = ("acknowledge-first", "gone-at-puback", "repeats-are-new")


def add_arguments(parser: ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--minutes", type=_minutes, default=1.0, metavar="M", help="how long to kill (default 1)")
    parser.add_argument("--seed", type=int, metavar="S", help="of all random choices (default: another one each time)")
    parser.add_argument(
        "--store",
        choices=("embedded", "influxdb"),
        default="embedded",
        help="over which store (default embedded); influxdb is a 1.x that is started here, and killed with the others",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the figures there too, as JSON")
    parser.add_argument("--plant", choices=FAULTS, help="put a fault into a process, which the run then has to find")
    parser.add_argument(
        "--data", type=Path, default=ROOT / "data", metavar="DIR", help="on which disk; kept if anything is found"
    )


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise ArgumentTypeError(f"should be a number of minutes above 0, not {text!r}")
    return minutes


def run(arguments: Namespace) -> int:
    """Run it, and fail if anything is not as it should be."""
    if not (ROOT / "tests").is_dir():
        raise InvalidSettings(f"the harness is among the tests, which are not in {ROOT}")
    status: int = importlib.import_module(HARNESS).command(arguments)  # by name: nothing else here knows the tests
    return status
