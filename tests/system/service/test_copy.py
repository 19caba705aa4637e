"""`./power copy` from each store into each other one."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from power_cli.__main__ import main
from shared.domain.readings import Kind, Readings
from shared.domain.slots import SLOT_US
from tests.support.columns import as_columns
from tests.support.filled import contents, delete, fill, fill_fleet
from tests.support.influxdb import InfluxDb
from tests.support.postgres import Postgres
from tests.support.strategies import START_US

SHIPS = 5


def of_every_kind(ship: int) -> Readings:
    """Return readings of all kinds with all that they may state."""
    kinds = [kind for kind in Kind for _ in range(4)]
    return as_columns(
        (
            ship,
            START_US + at * SLOT_US // 2,
            float("nan") if kind == Kind.UNKNOWN else float(at),
            kind,
            1,
            1_500_000 * (at % 2) * (kind not in {Kind.COUNTER_KWH, Kind.UNKNOWN}),
            7_200_000_000 * (at % 4 == 0),
            1e6 * (kind == Kind.COUNTER_KWH),
        )
        for at, kind in enumerate(kinds)
    )


def test_what_goes_through_every_store_comes_back_unchanged(
    tmp_path: Path, influxdb: InfluxDb, database: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWER_PARTITIONS", "1")
    fill_fleet(tmp_path / "old", SHIPS - 1)
    fill(tmp_path / "old", of_every_kind(SHIPS - 1))
    delete(tmp_path / "old", (SHIPS - 1, START_US + SLOT_US, START_US + 2 * SLOT_US, 9))
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
            np.testing.assert_array_equal(old.columns(), new.columns())
