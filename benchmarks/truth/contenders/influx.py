"""InfluxDB 1.x with InfluxQL: the integral, and the mean with empty slots filled by the previous one.

https://docs.influxdata.com/influxdb/v1/query_language/functions/#integral and, for fill,
https://docs.influxdata.com/influxdb/v1/query_language/explore-data/#group-by-time-intervals-and-fill. Energy is
summed; of a counter the rises are taken (`NON_NEGATIVE_DIFFERENCE(LAST())`, on the first page). Where a slot has no
reading, the integral is in another one: https://github.com/influxdata/influxdb/issues/9645.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.rounds import Options
from benchmarks.service import free_port
from benchmarks.truth.contenders import Answer, Method
from benchmarks.truth.contenders.requests import ask, post
from benchmarks.truth.scenarios import Scenario
from power_cli import influxd
from power_cli.up import HOST
from shared.domain.readings import IS_POWER, Kind

NAMES = ("InfluxQL integral", "InfluxQL mean, fill(previous)")
DATABASE = "truth"
OF_POWER = {
    NAMES[0]: ("integral(value, 1h)", "none"),
    NAMES[1]: ("mean(value) * 0.25", "previous"),
}


@contextmanager
def methods(options: Options) -> Iterator[list[Method]]:
    """Return both, on a server that is started."""
    folder = Path(mkdtemp(prefix="influxdb-", dir=options.folder))
    with influxd.running(folder, HOST, free_port()) as url:
        ask(f"{url}/query", q=f"CREATE DATABASE {DATABASE}")
        ships = count(1)

        def method(name: str) -> Method:
            return lambda scenario: _slots(url, next(ships), scenario, *OF_POWER[name])

        yield [method(name) for name in NAMES]


def _slots(url: str, ship: int, scenario: Scenario, of_power: str, fill: str) -> Answer:
    """Write the readings in the order of arrival, each kind as a measurement, and add up what is found of each."""
    lines = [f"{each.kind.label},ship={ship} value={each.value!r} {each.moment_s}" for each in scenario.sent]
    post(f"{url}/write", "\n".join(lines).encode(), db=DATABASE, precision="s")
    kwh: Counter[int] = Counter()
    for kind in {each.kind for each in scenario.sent}:
        what = "non_negative_difference(last(value))" if kind is Kind.COUNTER_KWH else "sum(value)"
        query = (
            f"SELECT {of_power if IS_POWER[kind] else what} FROM {kind.label} WHERE ship = '{ship}'"  # noqa: S608  # no value comes from outside
            f" AND time >= {scenario.load.start_s}s AND time <= {scenario.load.end_s}s"
            f" GROUP BY time(15m) fill({fill if IS_POWER[kind] else 'none'})"
        )
        for series in ask(f"{url}/query", db=DATABASE, epoch="s", q=query)["results"][0].get("series", []):
            kwh.update({start_s: value for start_s, value in series["values"] if value is not None})
    return Answer(kwh)
