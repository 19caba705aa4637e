"""The worker's resident memory under load."""

from collections.abc import Iterator
from statistics import median

import psutil
from tqdm import tqdm

from benchmarks.load import A_DAY, Batch, generator, publish
from benchmarks.rounds import Options
from benchmarks.service import Service
from benchmarks.table import Row

WANTED_MIB = 300
WANTED_GROWTH = 1.1
"""The largest ratio of the medians of the last and the first third that counts as flat."""
SHIPS = 1000
PART = 100_000 // A_DAY
AHEAD = 2
"""Parts in flight: enough to keep the worker busy, few enough to keep the broker's queue short."""


def measure(options: Options) -> list[Row]:
    """Sample the memory each time about 100,000 more readings are stored."""
    total = options.size(10_000_000, 500_000)
    batches = [Batch(ship, day * A_DAY) for day in range(total // A_DAY // SHIPS + 1) for ship in range(SHIPS)]
    batches = batches[: total // A_DAY]
    with Service(options.new_place()) as service:
        worker = service.worker()  # this one process: a restarted worker would look small
        idle_mib = _mib(worker)
        mib = list(_samples(service, worker, [batches[i : i + PART] for i in range(0, len(batches), PART)]))
    third = max(len(mib) // 3, 1)
    first, last = median(mib[:third]), median(mib[-third:])
    slope = (last - first) / (total * 2 / 3 / 1e6)
    return [
        Row(
            f"the worker's resident memory, {total:,} readings in batches of {A_DAY}",
            f"max {max(mib):.0f} MiB, last third {last:.0f} MiB ({slope:+.1f} MiB per million readings)",
            f"first third {first:.0f} MiB (idle before: {idle_mib:.0f} MiB)",
            last / first,
            f"under {WANTED_MIB} MiB, flat ({WANTED_GROWTH}x)",
            holds=max(mib) < WANTED_MIB and last <= WANTED_GROWTH * first,
            samples={"MiB": mib, "idle MiB": [idle_mib]},
        )
    ]


def _samples(service: Service, worker: psutil.Process, parts: list[list[Batch]]) -> Iterator[float]:
    with generator(publish, service.mqtt_port, *parts) as start:
        for _ in range(AHEAD):
            start()
        for part in tqdm(parts, unit="part", leave=False):
            service.await_stored(part[::-1])
            yield _mib(worker)
            start()


def _mib(worker: psutil.Process) -> float:
    return worker.memory_info().rss / 2**20
