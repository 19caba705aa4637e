"""Emptying a full outbox after an outage: the time until ready, and the rate while more POSTs arrive."""

import hashlib
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from statistics import median, quantiles
from uuid import uuid4

import psutil
from tqdm import tqdm

from benchmarks.databases import Place
from benchmarks.load import A_DAY, ACCEPTED, GIVE_UP_S, Batch, post
from benchmarks.rounds import Options
from benchmarks.service import Service
from benchmarks.table import Row
from ingest_api.outbox.entry import Entry
from ingest_api.outbox.outbox import Outbox
from power_cli.up import HOST
from shared.domain.errors import Unavailable

WANTED_SHARE = 0.5
WANTED_GROWTH_MIB = 150
WANTED_READY_S = 15
SHIPS = 1000
NORMAL_ROUNDS = 3
OUTBOX_MAX_BYTES = 2 * 2**30
SENDERS = 4
SENT_SHARE = 0.25
"""The rate of POSTs during the emptying, as a fraction of the normal rate."""
SAMPLE_S = 0.25


def measure(options: Options) -> list[Row]:
    """Measure the normal rate, then the emptying."""
    fill_bytes = options.size(2**30, 48 * 2**20)
    with Service(options.new_place()) as service:
        ready_s = service.start_s
        normal = [
            service.stored_per_s(post, service.port, [Batch(ship, day * A_DAY) for ship in range(SHIPS)])
            for day in tqdm(range(NORMAL_ROUNDS + 1), "the normal rate", unit="round", leave=False)
        ][1:]
    rate = median(normal)
    place = options.new_place()
    old = _filled(place, fill_bytes)
    with Service(place, POWER_OUTBOX_MAX_BYTES=str(OUTBOX_MAX_BYTES)) as service:
        gateway = service.gateway()
        with _posting(service.port, SENT_SHARE * rate / A_DAY) as answered_ms, _watched(gateway) as mib:
            sys.stderr.write(f"emptying it: {len(old):,} batches …\n")
            began_s = time.perf_counter()
            service.await_stored(old[::-1])
            drained = len(old) * A_DAY / (time.perf_counter() - began_s)
    what = f"an outbox of {fill_bytes / 2**20:,.0f} MiB, {len(old):,} batches of {A_DAY}"
    p99 = quantiles(answered_ms, n=100, method="inclusive")[-1]
    return [
        Row(
            f"{what}: until stored, during {len(answered_ms):,} POSTs (p99 {p99:.0f} ms)",
            f"{drained:,.0f} readings/s",
            f"POSTs until stored, with an empty outbox: {rate:,.0f} readings/s",
            drained / rate,
            f"{WANTED_SHARE:.0%} of the baseline",
            holds=drained >= WANTED_SHARE * rate,
            samples={"readings/s": [drained], "normal readings/s": normal, "POST ms": answered_ms},
        ),
        Row(
            "the gateway's memory during that",
            f"max {max(mib):.0f} MiB",
            f"when it became ready: {mib[0]:.0f} MiB",
            max(mib) / mib[0],
            f"at most {WANTED_GROWTH_MIB} MiB more",
            holds=max(mib) - mib[0] <= WANTED_GROWTH_MIB,
            samples={"MiB": mib},
        ),
        Row(
            "start of the service with the full outbox, until ready",
            f"{service.start_s:.1f} s",
            f"with an empty one: {ready_s:.1f} s",
            service.start_s / ready_s,
            f"under {WANTED_READY_S} s",
            holds=service.start_s < WANTED_READY_S,
        ),
    ]


def _filled(place: Place, fill_bytes: int) -> list[Batch]:
    """Fill the outbox of a place, as a gateway without a broker does; return its batches."""
    made: list[Batch] = []
    outbox = Outbox(place.folder, OUTBOX_MAX_BYTES)
    days = itertools.count()
    bar = tqdm(desc="filling it", total=fill_bytes, unit="B", unit_scale=True, leave=False)
    with ThreadPoolExecutor(16) as senders, bar:
        while outbox.size_bytes < fill_bytes:
            day = next(days)
            batches = [Batch(ship, day * A_DAY) for ship in range(SHIPS)]
            for _ in senders.map(lambda each: outbox.accept(_entry(each)), batches):
                pass
            made += batches
            bar.update(min(outbox.size_bytes, fill_bytes) - bar.n)
    outbox.close()
    return made


def _entry(batch: Batch) -> Entry:
    name, payload = uuid4(), batch.payload()
    payload = payload[:-1] + f', "batch_id": "{name}", "sent_at": "2026-01-01T00:00:00Z"}}'.encode()
    return Entry(name, batch.ship, batch.readings, hashlib.sha256(payload).digest(), payload)


@contextmanager
def _posting(port: int, per_s: float) -> Iterator[list[float]]:
    """POST batches of other ships at a fixed rate, all of which must be accepted; yields their durations, in ms."""
    stop, took_ms, failed = threading.Event(), list[float](), list[str]()

    def send(sender: int) -> None:
        connection = HTTPConnection(HOST, port, timeout=GIVE_UP_S)
        for day in itertools.count():
            body = Batch(SHIPS + sender, day * A_DAY).payload()
            began_s = time.perf_counter()
            connection.request("POST", "/data", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            took_s = time.perf_counter() - began_s
            took_ms.append(took_s * 1e3)
            if response.status != ACCEPTED:
                failed.append(f"a POST was answered with {response.status}")
            if stop.wait(max(SENDERS / per_s - took_s, 0)):
                break
        connection.close()

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(SENDERS)]
    for each in threads:
        each.start()
    try:
        yield took_ms
    finally:
        stop.set()
        for each in threads:
            each.join()
    if failed:
        raise Unavailable(failed[0])


@contextmanager
def _watched(process: psutil.Process) -> Iterator[list[float]]:
    """Sample a process's resident memory; yields the list of samples, in MiB, which has one from the start."""
    stop, mib = threading.Event(), [process.memory_info().rss / 2**20]

    def sample() -> None:
        while not stop.wait(SAMPLE_S):
            mib.append(process.memory_info().rss / 2**20)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield mib
    finally:
        stop.set()
        thread.join()
