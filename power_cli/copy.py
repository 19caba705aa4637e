"""`./power copy`: copies all ships from one store into another, and compares the two."""

import logging
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import NoReturn

from tqdm import tqdm

from power_cli.copying.comparing import Totals, fleet_differences, has_part, has_rest, totals
from power_cli.copying.parts import Part, Ship, parts, ships
from power_cli.copying.targets import Target, check_different, open_source, open_target, settings_of
from shared.domain.errors import InvalidSettings
from shared.domain.timestamps import US_PER_S, iso
from shared.runtime.settings import StoreSettings
from shared.store.port import EnergyReader

STORES = "sqlite:FOLDER, influxdb:http://HOST:8086?bucket=NAME or postgresql://USER@HOST/DATABASE"
NAMED_SHIPS = 10


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = (
        f"An address is as in POWER_STORE_URL: {STORES}. INFLUXDB_TOKEN has the token of an InfluxDB; the password of a"
        " PostgreSQL may be in the file that PGPASSFILE names. Stop the worker of the store that is written. A copy"
        " that was stopped goes on when it is run again."
    )
    parser.add_argument("--from", dest="source", required=True, metavar="URL", help="the store to read")
    parser.add_argument("--to", dest="target", metavar="URL", help="the store to write (default POWER_STORE_URL)")
    parser.add_argument(
        "--broker",
        metavar="URL",
        help="the RabbitMQ of the cluster that is to use the PostgreSQL, amqp://USER:PASSWORD@HOST, with a user who has"
        " all rights (default POWER_AMQP_URL, or POWER_BROKER_URL)",
    )


def run(arguments: Namespace) -> int:
    """Copy, compare, and return whether they differ."""
    to = arguments.target or StoreSettings.load(os.environ).store_url
    if to is None:
        raise InvalidSettings("name the store to write with --to or POWER_STORE_URL")
    of_source, of_target = settings_of("--from", arguments.source), settings_of("--to", to)
    check_different(of_source, of_target)
    logging.getLogger("shared.store").setLevel(logging.WARNING)  # what a database promises is for a service's log
    with ExitStack() as stack:
        source = open_source(of_source, stack)
        target = open_target(of_target, source, arguments.broker, stack)
        fleet = list(ships(source))
        target.prepare([each.number for each in fleet])
        whole = Totals()
        changed = _copy(source, target, fleet, whole)
        return _compare(source, target.reader, fleet, changed, whole)


def _bar(fleet: Sequence[Ship], what: str) -> "tqdm[NoReturn]":
    slots = sum(each.slots_between(0, each.last_us + 1) for each in fleet)
    return tqdm(total=slots, desc=what, unit=" slots", unit_scale=True)


def _differences(
    source: EnergyReader, target: EnergyReader, ship: Ship, whole: Totals, bar: "tqdm[NoReturn]"
) -> Iterator[Part]:
    """Read a ship, and add it to the totals; return the parts that the target has not, or not so."""
    for part in parts(source, ship):
        slots = part.slots(source)
        whole.add(part, slots)
        if not has_part(target, part, slots):
            yield part
        bar.update(part.progress)


def _copy(source: EnergyReader, target: Target, fleet: Sequence[Ship], whole: Totals) -> list[Ship]:
    """Copy what differs; return the ships that did. The others are compared with this, and added to the totals."""
    changed, copied = list[Ship](), 0
    with _bar(fleet, "copying") as bar:
        for ship in fleet:
            of_ship = Totals()
            of_ship.add_rest(source, ship.number)
            is_changed = not has_rest(source, target.reader, ship.number)
            if is_changed:
                target.delete(source.deletions([ship.number]))
                target.put_covariates(source.covariates(ship.number))
            for part in _differences(source, target.reader, ship, of_ship, bar):
                is_changed = True
                if len(part.readings):
                    target.record(ship.number, part.readings)
                    copied += len(part.readings)
            if is_changed:
                changed.append(ship)
            else:
                whole.join(of_ship)
    target.finish()
    sys.stdout.write(f"{len(fleet):,} ships, {copied:,} readings copied; all others were there already\n")
    return changed


def _compare(
    source: EnergyReader, target: EnergyReader, fleet: Sequence[Ship], changed: Sequence[Ship], whole: Totals
) -> int:
    """Compare the ships that were changed, and the sums of all; say what differs, and return whether anything does."""
    different = 0
    with _bar(changed, "comparing") as bar:
        for ship in changed:
            whole.add_rest(source, ship.number)
            n_different = sum(1 for _ in _differences(source, target, ship, whole, bar))  # it reads the whole ship
            if not n_different and has_rest(source, target, ship.number):
                continue
            different += 1
            if different <= NAMED_SHIPS:
                was, now = totals(source, ship), totals(target, ship)
                tqdm.write(f"ship {ship.number} differs: {was} in --from, {now} in --to", file=sys.stderr)
    others = sum(1 for _ in ships(target)) - len(fleet)
    sums = [] if different or others else list(fleet_differences(source, target))
    if not (different or others or sums):
        sys.stdout.write(f"Both stores have the same: {len(fleet):,} ships, {whole}\n")
        return 0
    faults = [f"{different:,} of {len(fleet):,} ships differ"] if different else []
    faults += [f"--to has {others:+,} ships"] if others else []
    faults += [f"the fleet's sums differ from {iso((each.start_s or 0) * US_PER_S)} on" for each in sums[:1]]
    sys.stderr.write(
        f"The stores differ: {'; '.join(faults)}. If --from was written meanwhile, stop its worker and copy again.\n"
    )
    return 1
