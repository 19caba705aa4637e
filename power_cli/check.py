"""`./power check`: linters, formatter, type checker and import contracts."""

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from power_cli.up import ROOT

CHECKS = (
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy", "."],
    ["lint-imports"],
    ["oxlint", "query_api"],
)


def run(_arguments: Namespace) -> int:
    """Run every check; the status is not 0 if one of them fails."""
    tools = Path(sys.executable).parent
    statuses = []
    for name, *options in CHECKS:
        sys.stdout.write(f"{' '.join([name, *options])}\n")
        sys.stdout.flush()
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([str(tools / name), *options], cwd=ROOT, env=environ, check=False)
        statuses.append(done.returncode)
    return max(statuses)
