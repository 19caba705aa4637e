"""Batches of a day from many ships, over MQTT and HTTP, until stored; baseline: bare writes to the database."""

import itertools
import time
from collections.abc import Sequence
from statistics import median

from benchmarks.databases import BareClient
from benchmarks.load import A_DAY, HTTP_CONNECTIONS, Batch, Send, post, publish
from benchmarks.rounds import Options, in_turn
from benchmarks.service import Service
from benchmarks.table import Row


def measure(options: Options) -> list[Row]:
    """Measure readings per second, over MQTT, over HTTP, and by a bare client."""
    ships = options.size(1000, 200)
    days, bare_days = itertools.count(), itertools.count()
    bare = options.new_place().bare_client()
    with Service(options.new_place()) as service:

        def sent(send: Send, port: int) -> float:
            return service.stored_per_s(send, port, _a_day(ships, next(days)))

        samples = in_turn(
            options.size(5, 2),
            lambda: sent(publish, service.mqtt_port),
            lambda: sent(post, service.port),
            lambda: _written(bare, _a_day(ships, next(bare_days))),
        )
    bare.close()
    mqtt, http, written = (median(each) for each in samples)
    goals = options.database.goals
    return [
        Row(
            f"batches of {A_DAY} from {ships:,} ships over MQTT, until stored",
            f"{mqtt:,.0f} readings/s",
            f"{bare.writes}: {written:,.0f} readings/s",
            mqtt / written,
            f"{goals.mqtt_per_s:,} readings/s" + (f", {goals.share:.0%} of the baseline" if goals.share else ""),
            holds=mqtt >= goals.mqtt_per_s and mqtt >= goals.share * written,
            samples={"readings/s": samples[0], "bare readings/s": samples[2]},
        ),
        Row(
            f"the same over HTTP POST, {HTTP_CONNECTIONS} connections",
            f"{http:,.0f} readings/s",
            f"the same over MQTT: {mqtt:,.0f} readings/s",
            http / mqtt,
            f"{goals.http_per_s:,} readings/s",
            holds=http >= goals.http_per_s,
            samples={"readings/s": samples[1], "over MQTT readings/s": samples[0]},
        ),
    ]


def _a_day(ships: int, day: int) -> list[Batch]:
    return [Batch(ship, day * A_DAY) for ship in range(ships)]


def _written(bare: BareClient, batches: Sequence[Batch]) -> float:
    """Return the rate at which a bare client writes the same readings and slots."""
    write = bare.prepared(batches)
    began_s = time.perf_counter()
    write()
    return sum(batch.readings for batch in batches) / (time.perf_counter() - began_s)
