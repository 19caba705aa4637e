"""`./power test`: the project's tests, by pytest."""

import os
import subprocess
import sys
from collections.abc import Sequence

from power_cli.up import ROOT


def run(arguments: Sequence[str]) -> int:
    """Run pytest with arguments in the project's folder."""
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode
