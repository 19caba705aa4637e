"""`./power test`: the project's tests, by pytest."""

import os
import subprocess
import sys
from argparse import REMAINDER, ArgumentParser, Namespace

from power_cli.up import ROOT


def add_arguments(parser: ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("pytest", nargs=REMAINDER, help="arguments for pytest")


def run(arguments: Namespace) -> int:
    """Run pytest in the project's folder."""
    command = [sys.executable, "-m", "pytest", *arguments.pytest]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode
