"""GET /ships/{spaceship_id}/covariates, and forecasts after a table was replaced."""

from collections.abc import Iterator

import numpy as np
import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from query_api.metrics import store_errors
from query_api.routes import covariates, forecast
from shared.domain.covariates import NO_ROWS, Covariates, Table
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import US_PER_S, iso
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.memory import MemoryStore
from tests.support.planned_speed import kwh_at, planned, speeds
from tests.support.slots import DAY, MONDAY_S, slots_from
from tests.support.store_covariates import put_covariates

DAYS = 40
SPEED = speeds(DAYS + 14)
END_S = MONDAY_S + DAYS * DAY * SLOT_S
FORECAST = f"spaceship_id=7&start={iso(END_S * US_PER_S)}"


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """A store of ship 7."""
    store = MemoryStore()
    slots = slots_from(kwh_at(SPEED)[: DAYS * DAY])
    with store.transaction():
        store.put_slots(slots, slots.emptied())
    yield store
    store.close()


@pytest.fixture
def client(store: MemoryStore) -> FlaskClient:
    errors = store_errors(CollectorRegistry())
    return make_app(
        covariates.routes(store, errors), forecast.routes(store, errors, None), access=anybody
    ).test_client()


def table(sent_at_us: int, factor_ahead: float = 1.0) -> Covariates:
    """Make a table with the speed of all slots; ahead, another one is planned."""
    ahead = np.where(np.arange(len(SPEED)) < DAYS * DAY, 1.0, factor_ahead)
    return planned(SPEED * ahead, sent_at_us=sent_at_us)


def test_the_table_is_shown_as_it_is_sent(client: FlaskClient, store: MemoryStore) -> None:
    moment_us = np.array([MONDAY_S, MONDAY_S + 900], np.int64) * US_PER_S
    rows = Table(moment_us, {"speed": np.array([12.0, 0.5]), "air": np.array([np.nan, -3.0])})
    put_covariates(store, Covariates(7, 5, rows.content()))
    assert client.get("/ships/7/covariates").get_json() == {
        "spaceship_id": 7,
        "sent_at": "1970-01-01T00:00:00.000005Z",
        "covariates": [
            {"datetime": "2024-01-01T00:00:00Z", "speed": 12},
            {"datetime": "2024-01-01T00:15:00Z", "air": -3, "speed": 0.5},
        ],
    }


def test_without_covariates_there_are_no_rows(client: FlaskClient, store: MemoryStore) -> None:
    assert client.get("/ships/7/covariates").get_json() == {"spaceship_id": 7, "sent_at": None, "covariates": []}
    put_covariates(store, Covariates(7, 5_000_000, NO_ROWS))
    answer = client.get("/ships/7/covariates/").get_json()
    assert answer == {"spaceship_id": 7, "sent_at": "1970-01-01T00:00:05Z", "covariates": []}


@pytest.mark.parametrize(
    "path", ["/ships/x/covariates", "/ships/-1/covariates", "/ships/7/covariates?start=2024-01-01"]
)
def test_wrong_parameters_are_422(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 422


def test_a_forecast_follows_the_table_at_once(client: FlaskClient, store: MemoryStore) -> None:
    """A cached answer is not used when the table has changed; when it is removed, the first answer is there again."""
    path = f"/forecast?{FORECAST}&horizon=24h"
    without = client.get(path).get_json()
    assert "covariates" not in without["weights"]
    expected = float(kwh_at(SPEED)[DAYS * DAY : (DAYS + 1) * DAY].sum())
    put_covariates(store, table(1))
    sailing = client.get(path).get_json()
    assert sailing["weights"]["covariates"] > 0.5
    assert abs(sailing["expected_consumption"] - expected) < 0.05 * expected
    put_covariates(store, table(2, 0.0))
    in_port = client.get(path).get_json()
    assert in_port["expected_consumption"] < 0.8 * sailing["expected_consumption"]
    put_covariates(store, Covariates(7, 3, NO_ROWS))
    assert client.get(path).get_json() == without


def test_the_contest_names_them(client: FlaskClient, store: MemoryStore) -> None:
    path = f"/forecast/models?{FORECAST}"
    assert "covariates" not in [each["model"] for each in client.get(path).get_json()["models"]]
    put_covariates(store, table(1))
    assert client.get(path).get_json()["models"][0]["model"] in {"covariates", "auto"}
