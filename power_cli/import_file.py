"""`./power import`: sends the readings of a file to a running service, and says first how it understands the file."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from power_cli import sending
from power_cli.importing.content import Content
from power_cli.importing.doubts import doubts
from power_cli.importing.options import add_arguments, wanted_of
from power_cli.importing.parcels import parcels
from power_cli.importing.reading import read
from power_cli.importing.report import left_out, sent, understood, warnings
from power_cli.importing.wanted import Wanted
from shared.domain.errors import InvalidInput, InvalidSettings

__all__ = ["add_arguments", "run"]


def run(arguments: Namespace) -> int:
    """Read a file, say how it is understood, and send its readings to a running service."""
    path: Path = arguments.file
    content = _read(path, wanted_of(arguments))
    sys.stdout.write("\n".join([f"{path}:", *understood(content), ""]))
    sys.stdout.flush()
    sys.stderr.write("".join(f"{line}\n" for line in (*warnings(content), *left_out(content, str(path)))))
    found = list(doubts(content))
    if found:
        raise InvalidInput("\n".join(f"{path}: {doubt}" for doubt in found))
    if not arguments.dry_run:
        _send(content, path, arguments.url)
    return 1 if content.faults.count else 0


def _read(path: Path, wanted: Wanted) -> Content:
    try:
        with (
            path.open("rb") as file,
            tqdm(total=path.stat().st_size or None, unit="B", unit_scale=True, desc="reading") as bar,
        ):
            return read(file, wanted, bar.update)
    except OSError as error:
        raise InvalidSettings(f"cannot read {path}: {error.strerror}") from None
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None


def _send(content: Content, path: Path, url: str) -> None:
    series = content.series
    # The batches of a ship are sent one after another: more connections than ships are of no use.
    connections = min(sending.CONNECTIONS, len(np.unique(series.ship))) or 1
    with tqdm(total=len(series), unit=" readings", unit_scale=True, desc="sending") as bar:
        for parcel in sending.deliver(url, parcels(content, str(path)), connections):
            bar.update(len(parcel.value))
    sys.stdout.write(f"{path}: {sent(content)}\n")
