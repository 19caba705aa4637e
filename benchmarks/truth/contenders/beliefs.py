"""FlexMeasures' timely-beliefs, in an environment of its own: it needs an older pandas than this service.

`POWER_BENCH_BELIEFS` names the Python of that environment; docs/truth.md has the commands that make it.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.rounds import Options
from benchmarks.truth.contenders import Answer, Method
from benchmarks.truth.scenarios import Scenario
from shared.domain.errors import Unavailable

NAMES = ("timely-beliefs",)
SCRIPT = Path(__file__).with_name("beliefs_script.py")
LIMIT_S = 300


@contextmanager
def methods(_: Options) -> Iterator[list[Method]]:
    """Return the method, if that Python has the package."""
    python = os.environ.get("POWER_BENCH_BELIEFS")
    if not python or _ran(python, "-c", "import timely_beliefs").returncode:
        raise Unavailable("timely-beliefs is missing: see docs/truth.md")
    yield [lambda scenario: resampled(python, scenario)]


def resampled(python: str, scenario: Scenario) -> Answer | None:
    """Return what `beliefs_script.py` makes of the readings; None if it has no way to take them."""
    rows = [
        {"moment_s": each.moment_s, "value": each.value, "kind": each.kind.label, "sent_s": each.sent_s}
        for each in scenario.sent
    ]
    done = _ran(python, str(SCRIPT), given=json.dumps({"rows": rows}))
    if done.returncode:
        raise Unavailable(f"timely-beliefs failed: {done.stderr.strip()[-500:]}")
    slots = json.loads(done.stdout)
    return None if slots is None else Answer(dict(slots))


def _ran(*command: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, input=given, timeout=LIMIT_S)
