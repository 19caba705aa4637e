"""`./power copy` from each store into each other one."""

from itertools import pairwise
from pathlib import Path

import pytest

from power_cli.__main__ import main
from tests.support.filled import contents, fill_fleet
from tests.support.influxdb import InfluxDb
from tests.support.postgres import Postgres

SHIPS = 5


def test_what_goes_through_every_store_comes_back_unchanged(
    tmp_path: Path, influxdb: InfluxDb, database: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWER_PARTITIONS", "1")
    fill_fleet(tmp_path / "old", SHIPS)
    urls = [
        f"sqlite:{tmp_path}/old",
        f"influxdb:{influxdb.url}?bucket={database}",
        postgres.create(),
        f"sqlite:{tmp_path}/new",
    ]
    for source, target in pairwise(urls):
        assert main(["copy", "--from", source, "--to", target]) == 0
    for ship in range(SHIPS):
        for old, new in zip(contents(urls[0], ship), contents(urls[-1], ship), strict=True):
            assert list(old.rows()) == list(new.rows())
