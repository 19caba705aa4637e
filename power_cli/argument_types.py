"""Options and argument types that several commands share; a type converts a text, or says what it should be."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path

from power_cli.up import HOST, ROOT
from shared.domain.readings import MAX_SHIP
from shared.domain.timestamps import moment_us

DEFAULT_URL = f"http://{HOST}:5000"
DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def add_url(parser: ArgumentParser) -> None:
    """Add the option `--url`, the address of the service."""
    parser.add_argument("--url", type=_url, default=DEFAULT_URL, help=f"address of the service (default {DEFAULT_URL})")


def add_data(parser: ArgumentParser, what: str, default: Path | str = ROOT / "data") -> None:
    """Add the option `--data`, a folder."""
    parser.add_argument("--data", type=Path, default=default, metavar="DIR", help=what)


def add_store(parser: ArgumentParser, what: str, *more: str) -> None:
    """Add the option `--store`, with more stores than the first two."""
    parser.add_argument("--store", choices=("embedded", "influxdb", *more), default="embedded", help=what)


def whole_number(text: str) -> int:
    """Convert a whole number from 0 on."""
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"should be a whole number, not {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Convert a whole number from 1 on."""
    number = whole_number(text)
    if number == 0:
        raise ArgumentTypeError("should be at least 1")
    return number


def ship_number(text: str) -> int:
    """Convert a `spaceship_id`."""
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_SHIP):
        raise ArgumentTypeError(f"should be a whole number from 0 to {MAX_SHIP}, not {text!r}")
    return int(text)


def timestamp_us(text: str) -> int:
    """Convert an ISO 8601 timestamp, or a date, which is its midnight in UTC, to microseconds since 1970."""
    try:
        return moment_us(f"{text}T00:00" if DATE.fullmatch(text) else text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} {error}") from None


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ArgumentTypeError(f"should be an address such as {DEFAULT_URL}, not {text!r}")
    return text.rstrip("/")
