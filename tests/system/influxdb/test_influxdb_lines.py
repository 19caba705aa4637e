"""Lines go to InfluxDB in several requests, two at a time: all are stored when the call returns, whatever it says."""

import pytest

from shared.domain.errors import Refused
from shared.store.influx.server import LINES, Server
from tests.support.influxdb import InfluxDb


def count(influxdb: InfluxDb, database: str) -> int:
    (series,) = influxdb.query("SELECT count(value) FROM readings", database)
    return int(series.columns["count"][0])


@pytest.mark.parametrize("n", [1, LINES, LINES + 1, 3 * LINES + 1])
def test_all_lines_are_stored(influxdb: InfluxDb, database: str, n: int) -> None:
    server = Server(influxdb.account(database))
    server.write(f"readings,ship=7 value={i}.5 {i}" for i in range(n))
    server.close()
    assert count(influxdb, database) == n


def test_without_a_line_nothing_is_asked_for(influxdb: InfluxDb, database: str) -> None:
    server = Server(influxdb.account(database))
    server.write([])
    server.close()
    assert influxdb.query("SHOW MEASUREMENTS", database) == []


@pytest.mark.parametrize("bad", [0, LINES, 3 * LINES])
def test_a_refusal_comes_when_all_that_can_be_stored_is(influxdb: InfluxDb, database: str, bad: int) -> None:
    """A sum's mark may be refused, since its day began before what the database keeps; all others must be marked."""
    lines = [f"readings,ship=7 value={i}.5 {i}" for i in range(3 * LINES + 1)]
    lines[bad] = f'readings,ship=7 value="text" {bad}'
    influxdb.write(database, ["readings,ship=7 value=1.5 -1"])
    server = Server(influxdb.account(database))
    with pytest.raises(Refused):
        server.write(lines)
    assert count(influxdb, database) == 3 * LINES + 1
    server.close()
