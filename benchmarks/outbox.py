"""The cost of the outbox: POSTs to the gateway; baseline: a gateway that publishes batches directly."""

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from benchmarks.load import A_DAY, HTTP_CONNECTIONS, Batch, generator, post
from benchmarks.rounds import Options, in_turn
from benchmarks.service import STOP_LIMIT_S, Service, free_port
from benchmarks.table import Row
from power_cli.supervisor import stop
from power_cli.up import HOST, ROOT
from shared.domain.errors import Unavailable
from shared.runtime.process import READY_FD

WANTED_SHARE = 0.7
SHIPS = 1000


def measure(options: Options) -> list[Row]:
    """Measure with batches of a day, and of one reading."""
    with Service(options.new_place()) as service, _direct(service.mqtt_port) as direct:
        return [_row(options, service, direct, readings) for readings in (A_DAY, 1)]


def _row(options: Options, service: Service, direct: int, readings: int) -> Row:
    """Send batches of `readings` readings, from ships that no other row uses."""
    steps = itertools.count(0, readings)
    ships = range(readings * SHIPS, (readings + 1) * SHIPS)
    each = options.size(2, 1)

    def load() -> list[Batch]:
        return [Batch(ship, step, readings) for step in itertools.islice(steps, each) for ship in ships]

    with_it, without = in_turn(
        options.size(11, 2),
        lambda: _rate(service, service.port, load()),
        lambda: _rate(service, direct, load()),
    )
    rate, baseline = median(with_it), median(without)
    return Row(
        f"POSTs of {readings} {'reading' if readings == 1 else 'readings'}, {HTTP_CONNECTIONS} connections, "
        "until the last answer",
        f"{rate:,.0f} POSTs/s",
        f"a gateway without an outbox, which answers at PUBACK: {baseline:,.0f} POSTs/s",
        rate / baseline,
        f"{WANTED_SHARE:.0%} of the baseline",
        holds=rate >= WANTED_SHARE * baseline,
        samples={"POSTs/s": with_it, "without outbox POSTs/s": without},
    )


def _rate(service: Service, port: int, batches: Sequence[Batch]) -> float:
    """Return the rate of answers; also wait until everything is stored, so as not to disturb the next round."""
    with generator(post, port, batches) as start:
        began_s = time.perf_counter()
        start()
    took_s = time.perf_counter() - began_s
    service.await_stored(batches[::-1])
    return len(batches) / took_s


@contextmanager
def _direct(mqtt_port: int) -> Iterator[int]:
    """Run the gateway without an outbox on the broker of a service; yields its port."""
    port = free_port()
    environ = {**os.environ, "POWER_MQTT_HOST": HOST, "POWER_MQTT_PORT": str(mqtt_port), "POWER_HTTP_PORT": str(port)}
    environ.pop("POWER_API_TOKENS_FILE", None)
    ready, write_fd = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "benchmarks.direct"],
        env={**environ, "PYTHONPATH": str(ROOT), READY_FD: str(write_fd)},
        pass_fds=(write_fd,),
        start_new_session=True,
    )
    os.close(write_fd)
    try:
        with os.fdopen(ready) as pipe:
            if not pipe.read():
                raise Unavailable("the gateway without an outbox did not start")
        yield port
    finally:
        stop(process, STOP_LIMIT_S)
