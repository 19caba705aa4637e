"""A cluster on this machine: what each part costs with one worker and with several, rates, and answers."""

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
from tqdm import tqdm

from benchmarks import queries, throughput
from benchmarks.cluster_servers import PARTITION_COUNT, Servers, Waits, cluster_database, cluster_place, cluster_servers
from benchmarks.load import A_DAY, Batch, post
from benchmarks.rounds import Options
from benchmarks.service import Service
from benchmarks.table import Row
from power_cli.cluster_status import owners
from shared.domain.errors import Unavailable

A_DAY_IN_BATCHES = 24
WANTED_GROWTH = 1.15
SHARED_OUT_S = 60
PARTS = ("gateway", "broker", "worker", "store")
WAITS = ("Lock", "LWLock", "IO")


class Case(NamedTuple):
    """How many workers there are, and how many batches each ship sends a day."""

    workers: int
    batches: int = 1

    def load(self, ships: int, days: range) -> list[Batch]:
        """Return what the ships send on some days, batch after batch."""
        size = A_DAY // self.batches
        steps = range(days.start * A_DAY, days.stop * A_DAY, size)
        return [Batch(ship, step, size) for step in steps for ship in range(ships)]

    def __str__(self) -> str:
        workers = f"{self.workers} worker{'s'[: self.workers - 1]}"
        return f"in batches of {A_DAY // self.batches}, {workers}"


class Taken(NamedTuple):
    """What it took: seconds of CPU for a million readings by part, bytes of the store's log a reading, and waits."""

    costs: Mapping[str, float]
    log_bytes: float
    waits: Waits


ONE = Case(1)
CASES = (ONE, Case(2), Case(4), Case(2, A_DAY_IN_BATCHES))


def measure(options: Options) -> list[Row]:
    """Measure the costs, then rates and answers as for the other stores."""
    with cluster_servers(options.folder) as servers:
        on_cluster = replace(options, database=cluster_database(servers))
        return [*_costs(on_cluster, servers), *throughput.measure(on_cluster), *queries.measure(on_cluster)]


def _costs(options: Options, servers: Servers) -> list[Row]:
    """Measure all cases in turn."""
    taken: dict[Case, list[Taken]] = {case: [] for case in CASES}
    for _ in tqdm(range(options.size(3, 1)), "costs", unit="round", leave=False):
        for case in CASES:
            taken[case].append(_cost(options, servers, case))
    one = median(sum(each.costs.values()) for each in taken[ONE])
    return [_row(options.database.name, case, taken[case], one) for case in CASES]


def _row(name: str, case: Case, taken: Sequence[Taken], one: float) -> Row:
    waits = [each.waits for each in taken]
    samples = {part: [each.costs[part] for each in taken] for part in PARTS}
    samples["all"] = [sum(each.costs.values()) for each in taken]
    samples["log bytes"] = [each.log_bytes for each in taken]
    samples |= {f"share of time waiting, {kind}": [each.share(kind) for each in waits] for kind in WAITS}
    samples |= {
        f"samples, {what}": [each.seen.get(what, 0) for each in waits]
        for what in sorted({what for each in waits for what in each.seen})
    }
    total = median(samples["all"])
    parts = ", ".join(f"{part} {median(samples[part]):.1f}" for part in PARTS)
    has_goal = case.batches == ONE.batches
    return Row(
        f"{name}: CPU for a million readings over HTTP {case} ({parts}); the store waits for locks"
        f" {median(samples['share of time waiting, Lock']):.1%} of the time, and writes"
        f" {median(samples['log bytes']):.0f} bytes of log a reading",
        f"{total:.1f} s",
        f"{ONE}: {one:.1f} s",
        total / one,
        f"at most {WANTED_GROWTH}x" if has_goal else "none",
        holds=not has_goal or total <= WANTED_GROWTH * one,
        samples=samples,
    )


def _cost(options: Options, servers: Servers, case: Case) -> Taken:
    """Start a service, store some days of many ships, and return what that took."""
    ships, days = options.size(1000, 300), options.size(3, 2)
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    place = cluster_place(servers, folder, case.workers)
    with Service(place) as service:
        _await_shared_out(servers, case.workers)
        service.stored_per_s(post, service.port, case.load(ships, range(1)))
        load = case.load(ships, range(1, days + 1))
        roots = {
            "gateway": [service.gateway()],
            "broker": [psutil.Process(node.pid) for node in servers.rabbitmq.nodes],
            "worker": service.workers(),
            "store": [psutil.Process(servers.postgres.pid)],
        }
        waits = Waits(place.environ["POWER_STORE_URL"])
        before, log_before = _cpu_s(roots), servers.log_bytes()
        with _sampled(waits):
            service.stored_per_s(post, service.port, load)
        after, log_after = _cpu_s(roots), servers.log_bytes()
    readings = sum(batch.readings for batch in load)
    costs = {part: (after[part] - before[part]) / readings * 1e6 for part in PARTS}
    return Taken(costs, (log_after - log_before) / readings, waits)


@contextmanager
def _sampled(waits: Waits) -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=waits.sample, args=(over.is_set,))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _cpu_s(roots: Mapping[str, Sequence[psutil.Process]]) -> dict[str, float]:
    """Return the CPU that processes have used, with their children, also those that have ended."""
    return {part: sum(map(_of_tree, processes)) for part, processes in roots.items()}


def _of_tree(root: psutil.Process) -> float:
    used_s = 0.0
    for each in (root, *root.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used_s += times.user + times.system + times.children_user + times.children_system
    return used_s


def _await_shared_out(servers: Servers, workers: int) -> None:
    """Wait until each worker has its share of the partitions."""
    deadline_s = time.monotonic() + SHARED_OUT_S
    while True:
        of = list(owners(servers.api).values())
        counts = [of.count(name) for name in set(of)]
        if len(counts) == workers and sum(counts) == PARTITION_COUNT and max(counts) - min(counts) <= 1:
            return
        if time.monotonic() > deadline_s:
            raise Unavailable(f"after {SHARED_OUT_S} s the partitions are not shared out evenly: {counts}")
        time.sleep(0.5)  # asking takes the broker some of the time that is measured
