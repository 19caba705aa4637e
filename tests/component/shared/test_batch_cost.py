"""What the worst bodies cost: memory and work are bounded, whatever 8 MiB hold, and whether they are valid or not."""

import os
import subprocess
import sys

import pytest

from power_cli.up import ROOT
from tests.support.heavy_bodies import NAMES

MOST_BYTES = 100 * 2**20
MOST_CPU_S = 2.0
"""Four times what is allowed, because a busy machine counts more; without bounds it is more than five seconds."""
_COST = """
import sys, time
from pathlib import Path
from uuid import UUID
from shared.contract.limits import MAX_BODY_BYTES
from shared.contract.decoding import receive
from shared.domain.errors import InvalidInput
from shared.contract.acceptance import Rules
from tests.support.decoding import NOW_US
from tests.support.heavy_bodies import heavy_body

def take(payload):
    try:
        return len(receive(payload, Rules(), NOW_US).message(UUID(int=1), NOW_US, NOW_US))
    except InvalidInput as error:
        return len(error.problems)

def kib(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

take(b'{"spaceship_id":1}')
body = heavy_body(sys.argv[1])
assert len(body) <= MAX_BODY_BYTES, len(body)
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
before, began_s = kib("VmRSS"), time.process_time()
assert take(body)
print(time.process_time() - began_s, (kib("VmHWM") - before) * 1024)
"""


def cost(name: str) -> tuple[float, float]:
    """Give seconds of CPU, and by how many bytes a process has grown, of taking one body and writing it anew."""
    command = [sys.executable, "-P", "-c", _COST, name]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environ, capture_output=True, timeout=60, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cpu_s, grown_bytes = map(float, done.stdout.split())
    return cpu_s, grown_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is told by /proc")
@pytest.mark.parametrize("name", NAMES)
def test_any_body_costs_little_memory_and_work(name: str) -> None:
    """64 of the worst at once may neither take the gateway's memory nor keep it from answering others."""
    cpu_s, grown_bytes = cost(name)
    assert grown_bytes < MOST_BYTES
    assert cpu_s < MOST_CPU_S
