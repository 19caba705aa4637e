"""GET /forecast/fleet: its parameters, its answer, its refusals."""

from collections.abc import Iterator

import numpy as np
import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from query_api.answers.heavy import HeavyAnswers
from query_api.metrics import store_errors
from query_api.routes import fleet_forecast
from shared.domain.slots import SLOT_S
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.memory import MemoryStore
from tests.support.slots import DAY, MONDAY_S, slots_from

DAYS = 10
NOW_US = (MONDAY_S + DAYS * DAY * SLOT_S + 300) * 10**6


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """A store of the ships 1, 2 and 3, which used 1, 2 and 3 kWh in every slot of ten days."""
    store = MemoryStore()
    with store.transaction():
        for ship in (1, 2, 3):
            slots = slots_from(np.full(DAYS * DAY, float(ship)), ship=ship)
            store.put_slots(slots, slots.emptied())
    yield store
    store.close()


@pytest.fixture
def heavy() -> HeavyAnswers:
    return HeavyAnswers(places=1)


@pytest.fixture
def client(store: MemoryStore, heavy: HeavyAnswers) -> FlaskClient:
    routes = fleet_forecast.routes(store, store_errors(CollectorRegistry()), heavy, now_us=lambda: NOW_US)
    return make_app(routes, access=anybody).test_client()


def test_the_fleet_is_the_sum_of_its_ships(client: FlaskClient) -> None:
    answer = client.get("/forecast/fleet?horizon=30m&quantiles=0.5&detail=true").get_json()
    assert answer.pop("weights") == {"sum": 0.5, "ships": 0.5}
    assert answer == {
        "datetime": "2024-01-11T00:00:00Z",
        "expected_consumption": 12,
        "lower": 12,
        "upper": 12,
        "quantiles": {"0.5": 12},
        "trained_on": {"start": "2024-01-01T00:00:00Z", "end": "2024-01-11T00:00:00Z", "slots": DAYS * DAY},
        "ships": [
            {"spaceship_id": ship, "expected_consumption": kwh, "lower": kwh, "upper": kwh, "share": share}
            for ship, kwh, share in ((3, 6, 0.5), (2, 4, 0.3333), (1, 2, 0.1667))
        ],
        "data": [
            {"datetime": f"2024-01-11T00:{minute}:00Z", "value": 6, "lower": 6, "upper": 6, "quantiles": {"0.5": 6}}
            for minute in ("00", "15")
        ],
    }


def test_a_group_names_the_ships_of_which_nothing_is_known(client: FlaskClient) -> None:
    answer = client.get("/forecast/fleet?horizon=1h&ships=8,3,1,3").get_json()
    assert (answer["expected_consumption"], answer["left_out"]) == (16, [8])
    assert "ships" not in answer


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("horizon=1h&ships=", "ships"),
        ("horizon=1h&ships=a", "ships"),
        ("horizon=1h&ships=1,,2", "ships"),
        ("horizon=1h&ships=-1", "ships"),
        ("horizon=1h&ships=9007199254740992", "ships"),
        ("horizon=1h&ships=" + ",".join(map(str, range(51))), "ships"),
        ("start=2024-01-11&end=2024-01-26", "end"),
        ("horizon=1h&ships=8", "start"),
        ("horizon=1h&start=2024-03-01", "start"),
        ("horizon=1h&model=linear", "model"),
    ],
)
def test_what_is_wrong_is_named(client: FlaskClient, asked: str, named: str) -> None:
    response = client.get(f"/forecast/fleet?{asked}")
    assert response.status_code == 422
    assert [each["at"] for each in response.get_json()["errors"]] == [named]


def test_it_is_a_heavy_answer_unless_it_is_repeated(client: FlaskClient, heavy: HeavyAnswers) -> None:
    path = "/forecast/fleet?horizon=1h"
    heavy.taken = 1
    assert client.get(path).status_code == 503
    heavy.taken = 0
    assert client.get(path).status_code == 200
    heavy.taken = 1
    assert client.get(path).status_code == 200
    assert client.get("/forecast/fleet?horizon=1h&ships=1").status_code == 503


def test_an_empty_window_is_empty(client: FlaskClient) -> None:
    answer = client.get("/forecast/fleet?start=2024-01-11&end=2024-01-11&detail=true").get_json()
    assert (answer["expected_consumption"], answer["data"]) == (0, [])
