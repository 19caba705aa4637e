"""`./power test`: the project's tests, by pytest."""

import os
import subprocess
import sys
from collections.abc import Sequence

from power_cli import programs
from power_cli.up import ROOT

LAYERS = ("unit", "component", "contract", "system")
_TAKE_A_VALUE = ("-k", "-m")
_ONE_PROCESS = ("-s", "--capture=no", "--pdb", "--trace")


def run(arguments: Sequence[str]) -> int:
    """Run pytest in the project's folder: all tests, whole layers (`unit component`), or whatever pytest is told."""
    if "--install" in arguments:
        programs.install()
        return 0
    command = [sys.executable, "-m", "pytest", *pytest_arguments(arguments)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode


def pytest_arguments(arguments: Sequence[str]) -> list[str]:
    """Return what pytest is told: folders for layers, and several processes unless single files or tests are named."""
    before = ["", *arguments]
    told = [
        f"tests/{each}" if each in LAYERS and last not in _TAKE_A_VALUE else each
        for last, each in zip(before, arguments, strict=False)
    ]
    few = any(each in _ONE_PROCESS or (ROOT / each.partition("::")[0]).exists() for each in arguments)
    return told if few else ["-n", "auto", "--dist", "worksteal", *told]
