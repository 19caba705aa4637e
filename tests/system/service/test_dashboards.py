"""Every query of every dashboard, taken out of the JSON, is run where Grafana would run it, and finds something."""

import copy
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.publish as paho
import pytest
from prometheus_client import CollectorRegistry, start_http_server

from normalizer_worker.recorder import Recorder
from normalizer_worker.rule.normalize import normalize
from power_cli.simulate import DAY_S
from query_api.forecast.accuracy import Accuracies, Expected, WatchedDay
from query_api.metrics import show_accuracy
from shared.domain.clock import now_us
from shared.domain.readings import Kind
from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_S, Slots
from shared.domain.timestamps import US_PER_S
from shared.http.tokens import dump
from shared.store.influx.store import InfluxStore
from tests.support import grafana
from tests.support.fleets import END_US, SHIPS, START_US, simulated
from tests.support.grafana import Json, Query
from tests.support.influxdb import InfluxDb, Series
from tests.support.prometheus import CONFIGURATION, Prometheus, prometheus_program
from tests.support.servers import HOST, WatchedService
from tests.support.service_processes import child
from tests.support.tokens import bearer, secret_of, token
from tests.support.waiting import until

ALL = grafana.dashboards()
QUERIES = [query for name, dashboard in ALL.items() for query in grafana.queries(name, dashboard)]


def asking(kind: str) -> pytest.MarkDecorator:
    """Run a test for each query to one kind of data source."""
    chosen = [query for query in QUERIES if query.kind == kind]
    return pytest.mark.parametrize("query", chosen, ids=[query.name for query in chosen])


# What the dashboards are made of.


@pytest.mark.parametrize("name", ALL)
def test_every_panel_asks_something_of_a_data_source_that_is_provisioned(name: str) -> None:
    assert grafana.faults(ALL[name], grafana.provisioned()) == []


def test_there_are_the_three_dashboards_each_under_its_own_uid() -> None:
    assert {name: dashboard["uid"] for name, dashboard in ALL.items()} == {
        name: f"power-{name}" for name in ("fleet", "ship", "pipeline")
    }
    assert set(grafana.provisioned()) == {"power-influxdb", "power-prometheus"}
    assert all("id" not in dashboard for dashboard in ALL.values())


@pytest.mark.parametrize("name", ALL)
def test_links_lead_to_dashboards_that_exist(name: str) -> None:
    uids = {dashboard["uid"] for dashboard in ALL.values()}
    assert set(re.findall(r"/d/([\w-]+)", json.dumps(ALL[name]))) <= uids
    assert [link["tags"] for link in ALL[name]["links"]] == [ALL[name]["tags"]]


def without_targets(panel: Json) -> None:
    del panel["targets"]


def with_empty_query(panel: Json) -> None:
    panel["targets"][0]["query"] = " "


def with_unknown_source(panel: Json) -> None:
    panel["targets"][0]["datasource"] = {"type": "influxdb", "uid": "another"}


def without_source(panel: Json) -> None:
    del panel["datasource"]


@pytest.mark.parametrize("spoil", [without_targets, with_empty_query, with_unknown_source, without_source])
@pytest.mark.parametrize("number", [0, -1], ids=["the first panel", "one in a closed row"])
def test_a_panel_that_asks_nothing_or_nobody_is_found(spoil: Any, number: int) -> None:
    fleet = copy.deepcopy(ALL["fleet"])
    spoil(list(grafana.panels(fleet))[number])
    assert len(grafana.faults(fleet, grafana.provisioned())) == 1


def test_two_panels_with_one_id_are_found() -> None:
    fleet = copy.deepcopy(ALL["fleet"])
    first, *_, last = grafana.panels(fleet)
    last["id"] = first["id"]
    assert grafana.faults(fleet, grafana.provisioned()) == ["two panels have the same id"]


# What they say of ships, on a real InfluxDB.


@pytest.fixture(scope="module")
def slots() -> Slots:
    """What the simulated readings come to."""
    return normalize(simulated())


@pytest.fixture(scope="module")
def filled(influxdb: InfluxDb) -> Iterator[str]:
    """A database with the simulated readings and all that the worker makes of them."""
    account = influxdb.account("dashboards")
    store = InfluxStore(account)
    recorder = Recorder(store, DEFAULT_MAX_GAP_US)
    recorder.record(simulated())
    with store.transaction():
        store.put_slots(lost(900.0), was=lost(0.0))
        store.put_slots(lost(0.0), was=lost(900.0))
    while recorder.tidy():
        pass
    store.close()
    yield account.bucket
    influxdb.drop(account.bucket)


def lost(covered_s: float) -> Slots:
    """Give a slot before all others, which is to lose its cover."""
    start_s = START_US // US_PER_S // SLOT_S * SLOT_S - 2 * SLOT_S
    return Slots(*map(np.array, ([1], [start_s], [covered_s / 100], [covered_s], [False], [0.0])))


def macros(query: Query, days: int = 2, interval: str = "") -> dict[str, str]:
    """Give what Grafana puts into InfluxQL, for a range that ends an hour after the newest reading."""
    to_ms = END_US // 1000 + 3_600_000
    from_ms = to_ms - days * DAY_S * 1000 - 2 * 3_600_000
    return {
        "timeFilter": f"time >= {from_ms}ms and time <= {to_ms}ms",
        "__from": str(from_ms),
        "__to": str(to_ms),
        "__interval": interval or query.min_interval,
        "ship": str(SHIPS + 1),
    }


@asking("influxdb")
@pytest.mark.parametrize(("days", "interval"), [(2, ""), (30, "1h")], ids=["two days", "a month"])
def test_the_store_has_an_answer(influxdb: InfluxDb, filled: str, query: Query, days: int, interval: str) -> None:
    answer = influxdb.query(query.filled(macros(query, days, interval)), filled)
    assert answer, "not a row"
    values = [
        value for series in answer for name, column in series.columns.items() if name != "time" for value in column
    ]
    assert any(value is not None for value in values)


@pytest.fixture
def said(influxdb: InfluxDb, filled: str) -> Any:
    """Ask a query by its name."""

    def ask(name: str, **changes: Any) -> Series:
        query = next(query for query in QUERIES if query.name == name)
        (series,) = influxdb.query(query.filled(macros(query, **changes)), filled, "s")
        return series

    return ask


def test_the_fleet_used_what_its_ships_used(said: Any, slots: Slots) -> None:
    (kwh,) = said("fleet / Energy / A").columns["kwh"]
    assert kwh == pytest.approx(slots.kwh.sum())
    (whole,) = said("fleet / Whole slots / A").columns["whole"]
    assert whole == pytest.approx((slots.covered_s >= SLOT_S).mean())
    (provisional,) = said("fleet / Provisional slots / A").columns["provisional"]
    assert provisional == slots.provisional.sum()
    assert said("fleet / Ships / A").columns["ships"] == [SHIPS + 1]


def test_a_slot_that_no_ship_has_is_missing_and_not_0(said: Any, slots: Slots) -> None:
    series = said("fleet / Energy per slot, all ships / A")
    has = set(slots.start_s.tolist())
    for start_s, kwh in zip(series.columns["time"], series.columns["kwh"], strict=True):
        assert (kwh is not None) == (start_s in has), start_s
    exact = said("fleet / Energy per slot, from the ships' slots / A")
    assert exact.columns["time"] == sorted(has)
    told = dict(zip(series.columns["time"], series.columns["kwh"], strict=True))
    assert [told[start_s] for start_s in sorted(has)] == pytest.approx(exact.columns["kwh"])


def test_over_a_month_a_point_is_the_mean_of_its_slots(said: Any, slots: Slots) -> None:
    series = said("fleet / Energy per slot, all ships / A", days=30, interval="1h")
    hour_s = (END_US // US_PER_S - DAY_S) // 3600 * 3600
    of_hour = slots.kwh[(slots.start_s >= hour_s) & (slots.start_s < hour_s + 3600)]
    assert dict(zip(series.columns["time"], series.columns["kwh"], strict=True))[hour_s] == pytest.approx(
        of_hour.sum() / 4
    )


@pytest.mark.parametrize("panel", ["Top ships, by days", "Top ships, exactly"])
def test_top_ships_are_those_that_used_most(said: Any, slots: Slots, panel: str) -> None:
    series = said(f"fleet / {panel} / A")
    used = {str(ship): slots.kwh[slots.ship == ship].sum() for ship in range(1, SHIPS + 2)}
    most = sorted(used, key=lambda ship: -used[ship])[:10]
    assert set(series.columns["ship"]) == set(most)
    for ship, kwh in zip(series.columns["ship"], series.columns["kwh"], strict=True):
        assert kwh == pytest.approx(used[ship])


def test_a_ships_slots_are_each_of_one_colour(said: Any, slots: Slots) -> None:
    coloured = [said(f"ship / Energy per slot / {ref}").columns["time"] for ref in "ABC"]
    assert sorted(start_s for each in coloured for start_s in each) == slots.start_s[slots.ship == SHIPS + 1].tolist()


def test_a_ships_cover_is_the_share_of_the_range(said: Any, slots: Slots) -> None:
    (cover,) = said("ship / Cover / A").columns["cover"]
    assert cover == pytest.approx(slots.covered_s[slots.ship == SHIPS + 1].sum() / ((2 * 24 + 2) * 3600))


def test_a_ship_was_last_seen_at_its_newest_reading(said: Any) -> None:
    readings = simulated()
    newest_us = readings.moment_us[readings.ship == SHIPS + 1].max()
    assert said("ship / Last seen / A").columns["time"] == [newest_us // US_PER_S]


def test_readings_are_drawn_where_they_are(said: Any) -> None:
    """The query thins out what is too much to draw; below that it leaves out nothing, and moves nothing."""
    readings = simulated()
    mine = readings[readings.ship == SHIPS + 1]
    for ref, kind in (("A", Kind.POWER_KW), ("B", Kind.ENERGY_KWH)):
        times = said(f"ship / Readings / {ref}").columns["time"]
        assert times == np.unique(mine.moment_us[mine.kind == kind] // US_PER_S).tolist()


# What they say of the service, on a real Prometheus.

BATCH: dict[str, Any] = {"spaceship_id": 1, "units": "kWh", "data": [{"datetime": "2018-08-24T00:00:00Z", "value": 12}]}
JSON = {"Content-Type": "application/json"}
RANGE_S = 60


class Watched:
    """A running service that asks for tokens, and the Prometheus that looks at it."""

    def __init__(self, service: WatchedService, prometheus: Prometheus) -> None:
        self.service, self.prometheus = service, prometheus

    def use(self) -> None:
        """Send and ask a little, well and badly."""
        service, headers = self.service, JSON | bearer("admin")
        for body in (json.dumps(BATCH).encode(), b"{", b"{}"):
            service.request("POST", "/data", body, headers)
        for path in ("/data?spaceship_id=1", "/data/fleet", "/topusers", "/nowhere"):
            service.request("GET", path, headers=headers)
        paho.single("ships/3/readings", b"not a batch", qos=1, hostname=HOST, port=service.mqtt_port)

    def answers(self, query: Query) -> list[float]:
        """Give the numbers that a query finds now."""
        promql = query.filled({"__rate_interval": f"{RANGE_S}s", "__range": f"{RANGE_S}s"})
        if query.instant:
            return self.prometheus.values(promql)
        return self.prometheus.values_of_range(promql, RANGE_S)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    prometheus_program()
    folder = tmp_path_factory.mktemp("watched")
    tokens = folder / "tokens.jsonl"
    tokens.write_text(dump([token("admin", "admin"), token("read", "read")]), "utf-8")
    service = WatchedService(folder / "data", POWER_API_TOKENS_FILE=str(tokens), POWER_OUTBOX_MAX_BYTES=str(16 * 2**20))
    forecasts, _ = start_http_server(0, HOST, compared())
    targets = [f"{HOST}:{port}" for port in (service.port, service.worker_port, forecasts.server_port)]
    prometheus = Prometheus(folder, targets, secret_of("read"))
    try:
        service.start()
        prometheus.start()
        until(lambda: prometheus.values('sum(up{job="power"})') == [3], "all are scraped")
        yield fail_once(Watched(service, prometheus))
    finally:
        prometheus.stop()
        assert service.stop() == 0
        forecasts.shutdown()
        forecasts.server_close()


def compared() -> CollectorRegistry:
    """Give the metrics of a query service that has compared forecasts, which one does minutes after its start."""
    registry, found = CollectorRegistry(), Accuracies()
    end_s = now_us() // US_PER_S // DAY_S * DAY_S
    found.put(1, end_s, [WatchedDay(end_s - DAY_S, 10.0, Expected(9.0, 8.0, 11.0))])
    show_accuracy(found, registry)
    return registry


def fail_once(watched: Watched) -> Watched:
    """Have a batch that cannot be taken, because nobody stores what fills the outbox."""
    service = watched.service

    def answer(times: int = 1) -> int:
        body = json.dumps({**BATCH, "data": BATCH["data"] * times}).encode()
        return service.request("POST", "/data", body, JSON | bearer("admin")).status

    worker = until(lambda: child(service, "normalizer_worker"), "there is a worker")
    worker.suspend()
    try:
        until(lambda: answer(40_000) == 503, "a batch is not taken")
    finally:
        worker.resume()
    until(lambda: answer() == 202, "one is again")
    return watched


@asking("prometheus")
def test_prometheus_has_an_answer(watched: Watched, query: Query) -> None:
    def found() -> bool:
        watched.use()
        return bool(watched.answers(query))

    until(found, f"a number for {query.text}")


def test_forecasts_that_one_service_has_compared_are_told(watched: Watched) -> None:
    """Others, which have not yet, hide nothing."""
    panel = {query.name[-1]: query for query in QUERIES if "Forecasts of the last 30 days" in query.name}
    until(lambda: all(watched.answers(query) for query in panel.values()), "both are scraped")
    assert {name: set(watched.answers(query)) for name, query in panel.items()} == {"A": {0.1}, "B": {1.0}}


def test_what_went_wrong_is_told_and_alarmed(watched: Watched) -> None:
    watched.use()

    def firing() -> set[str]:
        alerts = watched.prometheus.get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    until(lambda: {"PowerBatchesNotTaken", "PowerDeadLetters"} <= firing(), "both alarms are raised")
    assert firing() <= {"PowerBatchesNotTaken", "PowerDeadLetters", "PowerProcessDown"}
    (group,) = watched.prometheus.get("rules")["groups"]
    assert [rule["name"] for rule in group["rules"] if rule["health"] != "ok"] == []


def test_the_configuration_is_one_that_prometheus_takes() -> None:
    check = [prometheus_program("promtool"), "check"]
    for name in ("prometheus.yml", "cluster.yml"):
        subprocess.run([*check, "config", "--syntax-only", CONFIGURATION / name], check=True)
    for name in ("alerts.yml", "cluster_alerts.yml"):
        subprocess.run([*check, "rules", CONFIGURATION / name], check=True)


# What raises the alarms: what the services tell, a value every 15 seconds, beside an outbox that may have 100 bytes.

RAISES = {
    "PowerProcessDown": ['up{job="power"} 1 0x8'],
    "PowerWorkerStuck": ["power_worker_last_progress_timestamp_seconds 0x8"],
    "PowerWorkerBehind": [
        'power_worker_batch_lag_seconds_bucket{le="60"} 0+9x60',
        'power_worker_batch_lag_seconds_bucket{le="300"} 0+10x60',
        'power_worker_batch_lag_seconds_bucket{le="+Inf"} 0+10x60',
    ],
    "PowerBrokerDrops": ["power_broker_dropped_messages NaN 0x3 3x3"],
    "PowerSessionLost": ["power_worker_lost_sessions_total 0x3 1x3"],
    "PowerSubscriptionLost": ["power_worker_lost_subscriptions_total 0x3 1x3"],
    "PowerBatchesNotTaken": ["power_ingest_outbox_failures_total 0x3 1x3"],
    "PowerOutboxOld": ["power_outbox_oldest_seconds 880+15x4"],
    "PowerOutboxFillsUp": ["power_outbox_bytes 81x8"],
    "PowerStoreErrors": ["power_query_store_errors_total 0x3 1x3"],
    "PowerDeadLetters": ["power_worker_dead_letters_total 0x3 1x3"],
    "PowerDeadLettersInARow": ["power_worker_dead_letters_in_a_row 0+10x10"],
    "PowerDeadLettersDropped": ['power_worker_dead_letters_dropped_total{reason="disk"} 0x3 1x3'],
    "PowerMessagesShed": ["power_worker_messages_shed_total 0x3 1x3"],
}
RAISES_IN_A_CLUSTER = {
    "PowerRabbitNodeDown": ['up{job="rabbitmq", instance="rabbitmq1:15692"} 1 0x8'],
    "PowerRabbitAlarm": ["rabbitmq_alarms_memory_used_watermark 0x3 1x3"],
    "PowerPartitionWithoutWorker": ['rabbitmq_detailed_queue_consumers{queue="readings.7"} 1 0x8'],
    "PowerPartitionBehind": ['rabbitmq_detailed_queue_messages_ready{queue="readings.7"} 10001x30'],
    "PowerFewWorkers": ['up{job="power", instance="10.0.0.2:5001"} 1x8 0x30'],
}
HOLDS = [
    "power_outbox_max_bytes 100x60",
    *(f'up{{job="power", instance="10.0.0.{each}:5001"}} 1x60' for each in (1, 2)),
]
"""What is told besides, unless a test says otherwise."""
SLOW = {"PowerWorkerBehind": "15m", "PowerPartitionBehind": "7m", "PowerFewWorkers": "9m"}
RAISES_NOTHING = {
    "a broker that was started again": "power_broker_dropped_messages 7x8 NaN 0x8",
    "what was dropped before anybody listened": "power_broker_dropped_messages NaN 7x8",
    "a batch that waits for a quarter of an hour": "power_outbox_oldest_seconds 660+15x16 0x8",
    "an outbox that cannot be read": "power_outbox_oldest_seconds NaN NaN NaN",
    "an outbox that was nearly full for a moment": "power_outbox_bytes 0 99x3 0x8",
    "dead letters in a row, and then a good one": "power_worker_dead_letters_in_a_row 0+33x3 0x3",
}

NOTHING_IN_A_CLUSTER = {
    "a node that was started again": 'up{job="rabbitmq"} 1 0x2 1x8',
    "a partition that changes its worker": 'rabbitmq_detailed_queue_consumers{queue="readings.7"} 1 0x2 1x8',
    "another queue": 'rabbitmq_detailed_queue_consumers{queue="workers.1"} 0x60',
}


def _name_and_values(told: str) -> tuple[str, str]:
    name, values = re.fullmatch(r"(\w+(?:\{.*\})?) (.+)", told).groups()  # type: ignore[union-attr]
    return name, values


@pytest.mark.parametrize(
    ("name", "raises", "raises_nothing"),
    [("alerts.yml", RAISES, RAISES_NOTHING), ("cluster_alerts.yml", RAISES_IN_A_CLUSTER, NOTHING_IN_A_CLUSTER)],
)
def test_each_alarm_is_raised_by_what_it_is_for_and_by_nothing_else(
    tmp_path: Path, name: str, raises: dict[str, list[str]], raises_nothing: dict[str, str]
) -> None:
    """As `promtool test rules` plays it: the name of what fails is in its answer."""

    def played(name: str, told: list[str], raised: list[str], within: str = "15m") -> Json:
        series = dict(_name_and_values(each) for each in [*HOLDS, *told])
        firing = {
            "expr": 'count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[15m]))',
            "eval_time": within,
            "exp_samples": [{"labels": f'{{alertname="{each}"}}', "value": 1} for each in raised],
        }
        return {
            "name": name,
            "interval": "15s",
            "input_series": [{"series": each, "values": values} for each, values in series.items()],
            "promql_expr_test": [firing],
        }

    tests = [played(alert, told, [alert], SLOW.get(alert, "3m")) for alert, told in raises.items()]
    tests += [played(what, [told], []) for what, told in raises_nothing.items()]
    rules = CONFIGURATION / name
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "15s", "tests": tests}), "utf-8")
    done = subprocess.run([prometheus_program("promtool"), "test", "rules", file], check=False, capture_output=True)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    assert set(raises) == set(re.findall(r"alert: (\w+)", rules.read_text("utf-8")))
