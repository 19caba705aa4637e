"""GET /forecast/accuracy: its parameters and its answer."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from query_api.answers.heavy import HeavyAnswers
from query_api.forecast.steps import DAY_S
from query_api.metrics import store_errors
from query_api.routes import forecast_accuracy
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.memory import MemoryStore
from tests.support.slots import DAY, MONDAY_S, slots_from

NOW_US = (MONDAY_S + 3 * DAY_S + 400) * 10**6
HEAVY = HeavyAnswers(places=1)


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    """Of ship 7, which used 1 kWh in every slot of two days, and 2 kWh on the third."""
    store = MemoryStore()
    slots = slots_from(np.repeat([1.0, 1.0, 2.0], DAY))
    with store.transaction():
        store.put_slots(slots, slots.emptied())
    routes = forecast_accuracy.routes(store, store_errors(CollectorRegistry()), HEAVY, now_us=lambda: NOW_US)
    yield make_app(routes, access=anybody).test_client()
    store.close()


def test_the_answer_has_the_days_and_their_mean_errors(client: FlaskClient) -> None:
    row = {"expected_consumption": 96, "lower": 96, "upper": 96}
    assert client.get("/forecast/accuracy?spaceship_id=7").get_json() == {
        "spaceship_id": 7,
        "days": 2,
        "wape": 0.3333,
        "coverage": 0.5,
        "data": [
            {"datetime": "2024-01-02T00:00:00Z", "value": 96, **row},
            {"datetime": "2024-01-03T00:00:00Z", "value": 192, **row},
        ],
    }


def test_days_end_at_start_and_a_ship_without_any_has_none(client: FlaskClient) -> None:
    assert client.get("/forecast/accuracy?spaceship_id=7&start=2024-01-03").get_json()["wape"] == 0
    nothing: dict[str, Any] = {"spaceship_id": 8, "days": 0, "wape": None, "coverage": None, "data": []}
    assert client.get("/forecast/accuracy?spaceship_id=8").get_json() == nothing


def test_what_is_wrong_is_named_and_too_many_are_busy(client: FlaskClient) -> None:
    response = client.get("/forecast/accuracy?end=2024-01-03")
    assert {each["at"] for each in response.get_json()["errors"]} == {"spaceship_id", "end"}
    HEAVY.taken = 1
    assert client.get("/forecast/accuracy?spaceship_id=7").status_code == 503
    HEAVY.taken = 0
