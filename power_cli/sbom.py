"""`./power sbom`: writes the software bill of materials of requirements.lock, as CycloneDX JSON."""

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from power_cli.up import ROOT
from shared.domain.errors import InvalidSettings


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to this file (default: stdout)")


def run(arguments: Namespace) -> int:
    """Write the document."""
    if arguments.output is None:
        sys.stdout.write(text())
        return 0
    try:
        arguments.output.write_text(text(), "utf-8")
    except OSError as error:
        raise InvalidSettings(f"cannot write {arguments.output}: {error.strerror}") from None
    return 0


def text() -> str:
    """Return the document: always the same text for the same lock file, without a date or a random number."""
    files = ["--pyproject", str(ROOT / "pyproject.toml"), str(ROOT / "requirements.lock")]
    # The only warning is that there is no dependency graph, which a lock file does not contain.
    command = [sys.executable, "-P", "-W", "ignore", "-m", "cyclonedx_py", "requirements", "--output-reproducible"]
    return subprocess.run([*command, *files], stdout=subprocess.PIPE, text=True, check=True).stdout
