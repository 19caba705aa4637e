"""A short run on each store: whatever is killed when, what was accepted is stored, exactly, and nothing else."""

from pathlib import Path

import pytest

from tests.support.chaos.run import chaos
from tests.support.chaos.scene import Options
from tests.support.influxdb import influxd_program
from tests.support.servers import broker_program


@pytest.mark.parametrize(
    ("store", "seconds", "kills"), [("embedded", 60, 30), ("influxdb", 40, 20)], ids=["embedded", "influxdb"]
)
def test_accepted_means_stored_whatever_is_killed(tmp_path: Path, store: str, seconds: int, kills: int) -> None:
    broker_program()
    if store == "influxdb":
        influxd_program()
    report = chaos(Options(tmp_path, seed=20181, seconds=seconds, kills=kills, store=store))
    assert not report.differences, report.as_text()
    assert report.kills.total() >= kills
    assert set(report.kills) >= {"gateway", "broker", "worker"}
    for what in ("accepted", "rejected", "refused", "without an answer", "answered 201", "answered 202"):
        assert report.counts[what] > 0, what
    for kind in ("new", "repeat", "cut anew", "correction", "late", "nameless", "conflict", "wrong"):
        assert report.counts[f"sent, {kind}"] > 0, kind
    assert min(report.compared.values()) > 1000
