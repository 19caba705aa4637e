"""A short run on each store: whatever is killed when, what was accepted is stored, exactly, and nothing else."""

from pathlib import Path

import pytest

from power_cli import rabbitmq
from power_cli.chaos import CLUSTER
from tests.support.chaos.run import chaos
from tests.support.chaos.scene import Options
from tests.support.programs import need

NEEDED = {
    "embedded": ["mosquitto"],
    "influxdb": ["mosquitto", "influxdb"],
    CLUSTER: [rabbitmq.PACKAGE, "postgresql"],
}
KILLED = {
    "embedded": {"gateway", "broker", "worker"},
    "influxdb": {"gateway", "broker", "worker"},
    CLUSTER: {"gateway", "rabbitmq", "worker", "postgresql"},
}


@pytest.mark.parametrize(
    ("store", "seconds", "kills"),
    [("embedded", 60, 30), ("influxdb", 40, 20), (CLUSTER, 60, 20)],
    ids=["embedded", "influxdb", "cluster"],
)
def test_accepted_means_stored_whatever_is_killed(tmp_path: Path, store: str, seconds: int, kills: int) -> None:
    for package in NEEDED[store]:
        need(package)
    report = chaos(Options(tmp_path, seed=20181, seconds=seconds, kills=kills, store=store))
    assert not report.differences, report.as_text()
    assert report.kills.total() >= kills
    assert {name.partition(" ")[0] for name in report.kills} >= KILLED[store]
    for what in ("accepted", "rejected", "refused", "without an answer", "answered 201", "answered 202"):
        assert report.counts[what] > 0, what
    for kind in ("new", "repeat", "cut anew", "correction", "late", "nameless", "conflict", "wrong", "deletion"):
        assert report.counts[f"sent, {kind}"] > 0, kind
    assert min(report.compared.values()) > 200
