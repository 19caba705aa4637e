"""`./power simulate`: sends the readings of a simulated fleet, which depend only on the seed."""

import math
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal
from uuid import UUID

import numpy as np
from tqdm import tqdm

from power_cli import sending
from power_cli.argument_types import add_url, positive, ship_number, timestamp_us, whole_number
from shared.contract.kinds import Units
from shared.domain.columns import F64, I64
from shared.domain.errors import InvalidInput
from shared.domain.readings import MAX_SHIP
from shared.domain.timestamps import US_PER_S, iso

CADENCES_MIN = (1, 5, 15, 60)
UNITS: tuple[Units, ...] = ("kW", "kWh")
HOUR_S = 3600
DAY_S = 24 * HOUR_S
WATCH_S = 4 * HOUR_S
"""The length of a watch, whose readings form one batch. A multiple of every cadence, and a divisor of a day."""
WEEKEND = 5
THURSDAY = 3
"""The weekday of 1970-01-01, counted from Monday."""
LATE = 0.08
REPEATED = 0.05
HELD_WATCHES = 6

Kind = Literal["on time", "late", "repeated"]


@dataclass(frozen=True, slots=True)
class Ship:
    """The properties of one simulated ship.

    Attributes:
        number: `spaceship_id`.
        units: the units of its readings.
        cadence_s: the time between two of its readings.
        offset_s: the second of the minute at which it reads its meter.
        base_kw: mean load on weekdays.
        swing: the daily amplitude, as a fraction of `base_kw`.
        weekend: factor for the load on Saturdays and Sundays.
        shift_s: seconds from midnight UTC to the start of its day.

    """

    number: int
    units: Units
    cadence_s: int
    offset_s: int
    base_kw: float
    swing: float
    weekend: float
    shift_s: int

    @classmethod
    def of(cls, seed: int, number: int) -> "Ship":
        """Return a random ship, the same for the same seed and number."""
        rng = np.random.default_rng((seed, number))
        return cls(
            number=number,
            units=UNITS[rng.integers(len(UNITS))],
            cadence_s=60 * CADENCES_MIN[rng.integers(len(CADENCES_MIN))],
            offset_s=int(rng.integers(60)),
            base_kw=float(rng.lognormal(math.log(400), 0.6)),
            swing=float(rng.uniform(0.1, 0.5)),
            weekend=float(rng.uniform(0.6, 1.0)),
            shift_s=int(rng.integers(DAY_S)),
        )

    def count(self, start_us: int, end_us: int) -> int:
        """Count the readings of ``[start, end)``."""
        step_us, offset_us = self.cadence_s * US_PER_S, self.offset_s * US_PER_S
        return (end_us - 1 - offset_us) // step_us - (start_us - 1 - offset_us) // step_us

    def watch(self, number: int, rng: np.random.Generator) -> tuple[I64, F64]:
        """Return the timestamps, in microseconds, and the values of a watch; `number` counts watches since 1970."""
        moment_s = number * WATCH_S + self.offset_s + np.arange(0, WATCH_S, self.cadence_s, dtype=np.int64)
        own_s = moment_s - self.shift_s
        weekday = (own_s // DAY_S + THURSDAY) % 7
        kw = self.base_kw * np.where(weekday >= WEEKEND, self.weekend, 1.0)
        kw *= 1 + self.swing * np.sin(own_s * (2 * math.pi / DAY_S))
        kw *= np.exp(rng.normal(0, 0.05) + rng.normal(0, 0.05, len(moment_s)))
        value = kw if self.units == "kW" else kw * (self.cadence_s / HOUR_S)
        return moment_s * US_PER_S, value.round(3)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Delivery(sending.Parcel):
    """One batch of a ship, and whether it is sent on time."""

    kind: Kind = "on time"


def deliveries(fleet: Sequence[Ship], start_us: int, end_us: int, seed: int) -> Iterator[Delivery]:
    """Yield the batches of ``[start, end)`` in the order to send them: by time, except for late and repeated ones.

    A reading depends on seed, ship and timestamp alone, so overlapping periods agree. Only batches that are held back
    stay in memory.
    """
    watch_us = WATCH_S * US_PER_S
    held: defaultdict[int, list[Delivery]] = defaultdict(list)
    for watch in range(start_us // watch_us, -(-end_us // watch_us)):
        yield from held.pop(watch, ())
        for ship in fleet:
            rng = np.random.default_rng((seed, ship.number, watch))
            delivery = _batch(ship, *ship.watch(watch, rng), start_us, end_us)
            late_by, again_after = _delays(rng)
            if delivery is None:
                continue
            if late_by:
                held[watch + late_by].append(replace(delivery, kind="late"))
            else:
                yield delivery
            if again_after:
                held[watch + late_by + again_after].append(replace(delivery, kind="repeated"))
    for watch in sorted(held):
        yield from held[watch]


def _batch(ship: Ship, moment_us: I64, value: F64, start_us: int, end_us: int) -> Delivery | None:
    inside = slice(*moment_us.searchsorted((start_us, end_us)))
    moment_us, value = moment_us[inside], value[inside]
    if not len(moment_us):
        return None
    # Derived from the content: the same run again sends duplicates, and other runs never use the same batch_id.
    digest = blake2b(f"{ship.number} {ship.units} ".encode(), digest_size=16)
    digest.update(moment_us.tobytes() + value.tobytes())
    return Delivery(
        name=f"ship {ship.number}'s batch from {iso(int(moment_us[0]))}",
        ship=ship.number,
        units=ship.units,
        moment_us=moment_us,
        value=value,
        batch_id=UUID(bytes=digest.digest(), version=5),
    )


def _delays(rng: np.random.Generator) -> tuple[int, int]:
    """Draw by how many watches a batch is late, and after how many more it is repeated; mostly 0 and 0."""
    late_by, again_after = rng.integers(1, HELD_WATCHES + 1, 2).tolist()
    late, repeated = rng.random(2) < (LATE, REPEATED)
    return late_by if late else 0, again_after if repeated else 0


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--ships", type=positive, default=10, metavar="N", help="number of ships (default 10)")
    parser.add_argument("--days", type=positive, default=2, metavar="D", help="days of readings (default 2)")
    parser.add_argument(
        "--end", type=timestamp_us, metavar="TIME", help="end of the simulated time, in ISO 8601 (default: now)"
    )
    parser.add_argument(
        "--first-ship", type=ship_number, default=1, metavar="N", help="number of the first ship (default 1)"
    )
    parser.add_argument(
        "--seed", type=whole_number, default=1, metavar="S", help="random seed of the fleet (default 1)"
    )
    add_url(parser)


def run(arguments: Namespace) -> int:
    """Send a fleet's readings to a running service."""
    began_s = time.monotonic()
    end_us = time.time_ns() // 1000 if arguments.end is None else arguments.end
    start_us = end_us - arguments.days * DAY_S * US_PER_S
    numbers = range(arguments.first_ship, arguments.first_ship + arguments.ships)
    if start_us < 0 or numbers[-1] > MAX_SHIP:
        raise InvalidInput(f"readings begin in 1970 and ship numbers end at {MAX_SHIP}: choose fewer days or ships")
    fleet = [Ship.of(arguments.seed, number) for number in numbers]
    kinds: Counter[Kind] = Counter()
    total = sum(ship.count(start_us, end_us) for ship in fleet)
    with tqdm(total=total, unit=" readings", unit_scale=True) as bar:
        for sent in sending.deliver(arguments.url, deliveries(fleet, start_us, end_us, arguments.seed)):
            kinds[sent.kind] += 1
            bar.update(len(sent.value) if sent.kind != "repeated" else 0)
    sys.stdout.write(
        f"{len(fleet):,} ships, {kinds.total():,} batches ({kinds['late']:,} late, {kinds['repeated']:,} repeated),"
        f" {total:,} readings, {time.monotonic() - began_s:.1f} seconds\n"
    )
    return 0
