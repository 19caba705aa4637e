"""`./power sbom`: the software bill of materials of what requirements.lock pins, as CycloneDX JSON."""

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings


def add_arguments(parser: ArgumentParser) -> None:
    """Describe the options."""
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to this file (default: stdout)")


def run(arguments: Namespace) -> int:
    """Write the document."""
    if arguments.output is None:
        sys.stdout.write(text())
        return 0
    try:
        with arguments.output.open("w", encoding="utf-8") as file:
            file.write(text())
    except OSError as error:
        raise InvalidSettings(f"cannot write {arguments.output}: {error.strerror}") from None
    return 0


def text() -> str:
    """Return the document: the same text for the same lock file, without a date or a random number."""
    files = ["--pyproject", str(ROOT / "pyproject.toml"), str(ROOT / "requirements.lock")]
    # Its only warning is that the document has no dependency graph, which a lock file does not hold.
    command = [sys.executable, "-P", "-W", "ignore", "-m", "cyclonedx_py", "requirements", "--output-reproducible"]
    return subprocess.run([*command, *files], stdout=subprocess.PIPE, text=True, check=True).stdout
