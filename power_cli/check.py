"""`./power check`: linters, formatter, types, and which package may import which."""

import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from power_cli.up import ROOT

CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy", "."],
    ["lint-imports"],
    ["oxlint", "query_api"],
)


def add_arguments(parser: ArgumentParser) -> None:
    """Take no options."""


def run(arguments: Namespace) -> int:  # noqa: ARG001  # every command takes them
    """Run every check, and fail if one of them did."""
    tools = Path(sys.executable).parent
    statuses = []
    for name, *options in CHECKS:
        sys.stdout.write(f"{' '.join([name, *options])}\n")
        sys.stdout.flush()
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([str(tools / name), *options], cwd=ROOT, env=environ, check=False)
        statuses.append(done.returncode)
    return max(statuses)
