"""The options of `./power import`."""

import os
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import replace
from datetime import UTC, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from power_cli.argument_types import add_url, ship_number
from power_cli.importing.wanted import Wanted
from shared.contract.kinds import UNITS
from shared.domain.clock import now_us
from shared.domain.errors import InvalidInput
from shared.http.zones import zone_name
from shared.runtime.settings import ReadingSettings


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a CSV: a header, and a row for each reading or day")
    ship = parser.add_mutually_exclusive_group(required=True)
    ship.add_argument("--ship", type=ship_number, metavar="N", help="number of the ship")
    ship.add_argument("--ship-column", metavar="NAME", help="column of the ships' numbers")
    parser.add_argument("--units", choices=UNITS, help="unit of the values (default: what the header says)")
    parser.add_argument("--time-column", metavar="NAME", help="column of the timestamps (default: by its name)")
    parser.add_argument(
        "--value-column", metavar="NAME", help="column of the values (default: by its name, or the only other column)"
    )
    parser.add_argument(
        "--where",
        action="append",
        type=_filter,
        default=[],
        metavar="COLUMN=VALUE",
        help="read only the rows with this value; may be repeated",
    )
    parser.add_argument(
        "--tz",
        type=_zone,
        metavar="ZONE",
        help="zone of timestamps without an offset: Europe/Vienna, +01:00 (default UTC)",
    )
    parser.add_argument(
        "--stamp",
        choices=("start", "end"),
        help="what a timestamp is of the time that its value is for (default start)",
    )
    parser.add_argument("--counter", action="store_true", help="the values are what a meter shows")
    parser.add_argument("--decimal", choices=("point", "comma"), help="the decimal mark (default: by the values)")
    order = parser.add_mutually_exclusive_group()
    order.add_argument("--day-first", action="store_true", default=None, help="1/2/2024 is in February")
    order.add_argument("--month-first", action="store_false", dest="day_first", help="1/2/2024 is in January")
    parser.add_argument(
        "--allow-negative", action="store_true", help="accept values below 0; the service must accept them, too"
    )
    parser.add_argument("--skip-bad", action="store_true", help="go on even if more than a tenth of the rows is bad")
    parser.add_argument("--dry-run", action="store_true", help="only say how the file is understood")
    add_url(parser)


def _filter(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name.strip():
        raise ArgumentTypeError(f"should be like register=Offtake, not {text!r}")
    return name.strip(), value


def _zone(text: str) -> tzinfo:
    sign, digits = text[:1], text[1:].replace(":", "")
    if sign in ("+", "-") and len(digits) == 4 and digits.isascii() and digits.isdigit():  # noqa: PLR2004
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        if offset < timedelta(days=1):
            return timezone(offset if sign == "+" else -offset)
    if text.upper() in ("UTC", "GMT", "Z", "ETC/UTC"):
        return UTC
    if name := zone_name(text):
        return ZoneInfo(name)
    raise ArgumentTypeError(f"should be a time zone such as Europe/Vienna, or +01:00, not {text!r}")


def wanted_of(arguments: Namespace) -> Wanted:
    """Return the options; the limits are those of the settings."""
    rules = ReadingSettings.load(os.environ).rules
    if arguments.stamp is not None and arguments.counter:
        raise InvalidInput("--stamp has no meaning with --counter")
    return Wanted(
        ship=arguments.ship,
        ship_column=arguments.ship_column,
        units=arguments.units,
        time_column=arguments.time_column,
        value_column=arguments.value_column,
        where=tuple(arguments.where),
        zone=arguments.tz,
        stamp=arguments.stamp,
        counter=arguments.counter,
        decimal=arguments.decimal,
        day_first=arguments.day_first,
        skip_bad=arguments.skip_bad,
        rules=replace(rules, allow_negative=rules.allow_negative or arguments.allow_negative),
        period=rules.period(now_us()),
    )
