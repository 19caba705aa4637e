"""The dashboards over PostgreSQL: they are those over InfluxDB with other queries, and each query finds what is stored.

Every query is taken out of the JSON, and run with values in the place of Grafana's macros, as a user who may only read.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from normalizer_worker.recorder import Recorder
from normalizer_worker.rule.normalize import normalize
from power_cli.dashboards import OUTPUT, made
from shared.domain.slots import DEFAULT_MAX_GAP_US, SLOT_S, Slots
from shared.domain.timestamps import US_PER_S
from shared.store.postgres.store import PostgresStore
from tests.support import grafana
from tests.support.fleets import END_US, SHIPS, START_US, simulated
from tests.support.grafana import POSTGRESQL, Query
from tests.support.postgres import Postgres

ALL = {name: grafana.load(OUTPUT / f"{name}.json") for name in ("fleet", "ship")}
QUERIES = [query for name, dashboard in ALL.items() for query in grafana.queries(name, dashboard)]
DAY_MS = 86_400_000
TO_MS = END_US // 1000 + 3_600_000
PARTITIONS = 2

Rows = list[dict[str, Any]]


@pytest.mark.parametrize("name", ALL)
def test_they_are_made_of_those_for_influxdb(name: str) -> None:
    assert made()[name] == (OUTPUT / f"{name}.json").read_text("utf-8"), "run ./power dashboards"


@pytest.mark.parametrize("name", ALL)
def test_every_panel_asks_something_of_a_data_source_that_is_provisioned(name: str) -> None:
    sources = grafana.provisioned(POSTGRESQL)
    assert set(sources) == {"power-postgresql", "power-prometheus"}
    assert grafana.faults(ALL[name], sources) == []


@pytest.fixture(scope="module")
def slots() -> Slots:
    """What the simulated readings come to."""
    return normalize(simulated())


@pytest.fixture(scope="module")
def reader(postgres: Postgres) -> Iterator[str]:
    """The address for a user who may only read the simulated readings and what the worker makes of them."""
    url = postgres.create()
    store, readings = PostgresStore(url), simulated()
    store.check_writing()
    for number in range(PARTITIONS):
        Recorder(store.partition(number), DEFAULT_MAX_GAP_US).record(readings[readings.ship % PARTITIONS == number])
    store.close()
    postgres.run("CREATE ROLE grafana_test LOGIN PASSWORD 'grafana'", url=url)
    postgres.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO grafana_test", url=url)
    yield postgres.url(url.rpartition("/")[2], user="grafana_test", password="grafana")  # noqa: S106  # a test's
    postgres.run("DROP OWNED BY grafana_test", url=url)
    postgres.run("DROP ROLE grafana_test", url=url)


@pytest.fixture
def ask(reader: str) -> Callable[..., Rows]:
    """Run a query as Grafana would, for a range that ends an hour after the newest reading."""

    def rows(query: str | Query, days: int = 2, interval_s: int = SLOT_S) -> Rows:
        found = query if isinstance(query, Query) else next(each for each in QUERIES if each.name == query)
        from_ms = TO_MS - days * DAY_MS - 2 * 3_600_000
        macros = {"__from": str(from_ms), "__to": str(TO_MS), "__interval_ms": str(interval_s * 1000)}
        with psycopg.connect(reader, row_factory=psycopg.rows.dict_row) as connection:
            sql = found.filled({**macros, "ship": str(SHIPS + 1)})
            return connection.execute(sql.encode()).fetchall()

    return rows


@pytest.mark.parametrize("query", QUERIES, ids=[query.name for query in QUERIES])
@pytest.mark.parametrize(("days", "interval_s"), [(2, SLOT_S), (30, 3600)], ids=["two days", "a month"])
def test_the_store_has_an_answer(ask: Callable[..., Rows], query: Query, days: int, interval_s: int) -> None:
    rows = ask(query, days, interval_s)
    assert any(value is not None for row in rows for name, value in row.items() if name != "time")


def test_the_fleet_used_what_its_ships_used(ask: Callable[..., Rows], slots: Slots) -> None:
    assert ask("fleet / Energy / A") == [{"kwh": pytest.approx(slots.kwh.sum())}]
    assert ask("fleet / Whole slots / A") == [{"whole": pytest.approx((slots.covered_s >= SLOT_S).mean())}]
    assert ask("fleet / Provisional slots / A") == [{"provisional": slots.provisional.sum()}]
    assert ask("fleet / Ships / A") == [{"ships": SHIPS + 1}]


def test_a_slot_that_no_ship_has_is_missing_and_not_0(ask: Callable[..., Rows], slots: Slots) -> None:
    told = {row["time"]: row["all ships"] for row in ask("fleet / Energy per slot, all ships / A")}
    has = set(slots.start_s.tolist())
    assert {start_s for start_s, kwh in told.items() if kwh is not None} == has
    assert len(told) > len(has)
    exact = {row["time"]: row["kwh"] for row in ask("fleet / Energy per slot, from the ships' slots / A")}
    assert {start_s: told[start_s] for start_s in has} == pytest.approx(exact)


def test_over_a_month_a_point_is_the_mean_of_its_slots(ask: Callable[..., Rows], slots: Slots) -> None:
    rows = ask("fleet / Energy per slot, all ships / A", days=30, interval_s=3600)
    hour_s = (END_US // US_PER_S - 86_400) // 3600 * 3600
    of_hour = slots.kwh[(slots.start_s >= hour_s) & (slots.start_s < hour_s + 3600)]
    (kwh,) = (row["all ships"] for row in rows if row["time"] == hour_s)
    assert kwh == pytest.approx(of_hour.sum() / 4)


@pytest.mark.parametrize("panel", ["Top ships, by days", "Top ships, exactly"])
def test_top_ships_are_those_that_used_most(ask: Callable[..., Rows], slots: Slots, panel: str) -> None:
    used = {str(ship): slots.kwh[slots.ship == ship].sum() for ship in range(1, SHIPS + 2)}
    most = sorted(used, key=lambda ship: -used[ship])[:10]
    assert {row["ship"]: row["kwh"] for row in ask(f"fleet / {panel} / A")} == pytest.approx(
        {ship: used[ship] for ship in most}
    )


def test_a_ships_slots_are_each_of_one_colour(ask: Callable[..., Rows], slots: Slots) -> None:
    times = [row["time"] for ref in "ABC" for row in ask(f"ship / Energy per slot / {ref}")]
    assert sorted(times) == slots.start_s[slots.ship == SHIPS + 1].tolist()


def test_a_ship_is_shown_as_it_was_read(ask: Callable[..., Rows], slots: Slots) -> None:
    readings = simulated()
    mine = readings[readings.ship == SHIPS + 1]
    (seen,) = ask("ship / Last seen / A")
    assert round(seen["Time"].timestamp() * US_PER_S) == mine.moment_us.max()
    for ref, kind in (("A", 0), ("B", 1)):
        times = [round(row["time"].timestamp() * US_PER_S) for row in ask(f"ship / Readings / {ref}")]
        assert times == np.unique(mine.moment_us[mine.kind == kind]).tolist()
    (cover,) = ask("ship / Cover / A")
    assert cover["cover"] == pytest.approx(slots.covered_s[slots.ship == SHIPS + 1].sum() / ((2 * 24 + 2) * 3600))
    assert len(ask("ship / Newest readings / A")) == 50
    assert mine.moment_us.min() > START_US
