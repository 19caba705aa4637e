"""GET /forecast: its parameters, its answer, its refusals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from query_api.forecast.models import lstm_net
from query_api.forecast.models.lstm import BeingTrained
from query_api.metrics import store_errors
from query_api.routes import forecast
from shared.domain.errors import Busy, PowerError, Unavailable
from shared.domain.slots import SLOT_S
from shared.domain.timestamps import iso
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.memory import MemoryStore
from tests.support.slots import DAY, MONDAY_S, slots_from

END_S = MONDAY_S + 8 * DAY * SLOT_S
NOW_US = (END_S + 300) * 10**6
REGISTRY_ERRORS = "power_query_store_errors_total"


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """A store of ship 7, which used 2 kWh in every slot of eight days."""
    store = MemoryStore()
    slots = slots_from(np.full(8 * DAY, 2.0))
    with store.transaction():
        store.put_slots(slots, slots.emptied())
    yield store
    store.close()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def asking(store: MemoryStore, registry: CollectorRegistry, tmp_path: Path) -> FlaskClient:
    routes = forecast.routes(store, store_errors(registry), tmp_path / "f", now_us=lambda: NOW_US)
    return make_app(routes, access=anybody).test_client()


def query(start: int = 0, end: int = 4, ship: int = 7, **more: str) -> str:
    """Write a question for slots counted from the end of the history."""
    times = {"start": iso((END_S + start * SLOT_S) * 10**6), "end": iso((END_S + end * SLOT_S) * 10**6)}
    return "/forecast?" + "&".join(f"{k}={v}" for k, v in {"spaceship_id": ship, **times, **more}.items())


def refused(asking: FlaskClient, path: str) -> dict[str, str]:
    """Give what a refusal names, and why."""
    response = asking.get(path)
    assert (response.status_code, response.mimetype) == (422, "application/problem+json")
    errors: list[dict[str, str]] = response.get_json()["errors"]
    return {each["at"]: each["problem"] for each in errors}


@pytest.mark.parametrize("model", ["linear", "seasonal_naive", "pooled", "yesterday"])
def test_the_answer_is_a_total_with_an_interval_and_what_it_comes_from(asking: FlaskClient, model: str) -> None:
    assert asking.get(query(model=model)).get_json() == {
        "datetime": "2024-01-09T00:00:00Z",
        "expected_consumption": 8,
        "lower": 8,
        "upper": 8,
        "model": model,
        "trained_on": {"start": "2024-01-01T00:00:00Z", "end": "2024-01-09T00:00:00Z", "slots": 8 * DAY},
    }


def test_the_default_is_a_weighted_mean_and_says_of_what(asking: FlaskClient) -> None:
    answer = asking.get(query()).get_json()
    assert answer == asking.get(query(model="auto")).get_json()
    weights = answer.pop("weights")
    assert set(weights) == {"yesterday", "seasonal_naive", "recent_days", "recent_weeks"}  # eight days are few
    assert sum(weights.values()) == pytest.approx(1, abs=0.002)
    assert answer["expected_consumption"] == 8


def test_the_contest_says_how_good_each_model_is(asking: FlaskClient) -> None:
    answer = asking.get(f"/forecast/models?spaceship_id=7&start={iso(END_S * 10**6)}").get_json()
    assert (answer["spaceship_id"], answer["datetime"]) == (7, "2024-01-09T00:00:00Z")
    by_name = {each["model"]: each for each in answer["models"]}
    assert set(by_name) == {"auto", "yesterday", "seasonal_naive", "recent_days", "recent_weeks"}
    assert by_name["auto"]["wape"] == {"first_hour": 0, "first_day": 0, "seventh_day": 0}
    assert by_name["auto"]["weight"]["first_day"] == 1


def test_the_contest_knows_nothing_of_what_came_later_and_needs_a_day(asking: FlaskClient) -> None:
    early = END_S - 4 * DAY * SLOT_S
    answer = asking.get(f"/forecast/models?spaceship_id=7&start={iso(early * 10**6)}").get_json()
    assert answer["datetime"] == "2024-01-05T00:00:00Z"
    assert {each["wape"]["seventh_day"] for each in answer["models"]} == {None}
    assert "start" in refused(asking, "/forecast/models?spaceship_id=8")


def test_detail_adds_the_path(asking: FlaskClient) -> None:
    assert asking.get(query(1, 3, detail="true")).get_json()["data"] == [
        {"datetime": f"2024-01-09T00:{minute}:00Z", "value": 2, "lower": 2, "upper": 2} for minute in (15, 30)
    ]
    assert "data" not in asking.get(query(detail="false")).get_json()


def test_the_window_is_widened_to_whole_slots_and_an_empty_one_stays_empty(asking: FlaskClient) -> None:
    widened = "/forecast?spaceship_id=7&start=2024-01-09T00-07-00Z&end=2024-01-09T00-16-00Z"
    answer = asking.get(widened).get_json()
    assert (answer["datetime"], answer["expected_consumption"]) == ("2024-01-09T00:00:00Z", 4)
    empty = asking.get(query(3, 3, detail="true")).get_json()
    assert (empty["expected_consumption"], empty["lower"], empty["upper"], empty["data"]) == (0, 0, 0, [])


def test_what_is_wrong_with_the_parameters_is_named(asking: FlaskClient) -> None:
    assert refused(asking, "/forecast") == {"start": "is missing", "end": "is missing", "spaceship_id": "is missing"}
    assert set(refused(asking, query(4, 0))) == {"end"}
    assert set(refused(asking, query(0, 366 * DAY + 1))) == {"end"}
    assert set(refused(asking, query(model="prophet"))) == {"model"}
    assert set(refused(asking, query(colour="red"))) == {"colour"}
    assert asking.get(query(0, 366 * DAY)).status_code == 200


def test_quantiles_are_named_by_their_share_in_the_answer_and_in_each_slot(asking: FlaskClient) -> None:
    answer = asking.get(query(0, 1, quantiles="0.9,.5,0.50,0.1", detail="true")).get_json()
    same = {"0.1": 2, "0.5": 2, "0.9": 2}
    assert list(answer["quantiles"].items()) == list(same.items())
    assert [row["quantiles"] for row in answer["data"]] == [same]
    assert "quantiles" not in asking.get(query()).get_json()


@pytest.mark.parametrize(
    "quantiles",
    ["", "0", "1", "1.0", "0.0", "-0.1", "nan", "0.1,", "a", "1e-3", ",".join(f"0.{i}" for i in range(10, 20))],
)
def test_quantiles_are_few_numbers_between_0_and_1(asking: FlaskClient, quantiles: str) -> None:
    assert set(refused(asking, query(quantiles=quantiles))) == {"quantiles"}


def test_a_horizon_begins_at_start_or_in_the_current_slot(asking: FlaskClient) -> None:
    start = iso(END_S * 10**6)
    of_day = asking.get(query(0, DAY)).get_json()
    assert asking.get(f"/forecast?spaceship_id=7&start={start}&horizon=1d").get_json() == of_day
    assert asking.get(f"/forecast?spaceship_id=7&start={start}&horizon=1440m").get_json() == of_day
    assert asking.get("/forecast?spaceship_id=7&horizon=24h").get_json() == of_day


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("horizon=337h", "horizon"),
        ("horizon=15d", "horizon"),
        ("horizon=0d", "horizon"),
        ("horizon=20m", "horizon"),
        ("horizon=24", "horizon"),
        ("horizon=9999999d", "horizon"),
        ("horizon=1d&end=2024-01-10", "end"),
        ("end=2024-01-10", "start"),
        ("start=2024-01-09", "end"),
    ],
)
def test_a_window_has_one_end_within_reach(asking: FlaskClient, asked: str, named: str) -> None:
    assert set(refused(asking, f"/forecast?spaceship_id=7&{asked}")) == {named}


@pytest.mark.parametrize(("start", "ship", "hours"), [(-8 * DAY + 95, 7, "23.75"), (0, 8, "0.00"), (731 * DAY, 7, "0")])
def test_too_little_history_is_refused_with_how_much_there_is(
    asking: FlaskClient, start: int, ship: int, hours: str
) -> None:
    assert f"there are {hours}" in refused(asking, query(start, start + 4, ship))["start"]


def test_without_pytorch_lstm_is_refused_with_how_to_get_it(
    asking: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lstm_net, "torch_or_none", lambda: None)
    assert "pip install 'torch" in refused(asking, query(model="lstm"))["model"]


@pytest.mark.parametrize(("error", "wait_s"), [(BeingTrained("ship 7 is …"), 15), (Busy("many …"), 2)])
def test_what_comes_later_is_503_and_says_why(
    asking: FlaskClient, monkeypatch: pytest.MonkeyPatch, error: PowerError, wait_s: int, registry: CollectorRegistry
) -> None:
    def ask(*_: Any) -> None:
        raise error

    monkeypatch.setattr("query_api.forecast.service.Forecasts.forecast", ask)
    response = asking.get(query())
    assert (response.status_code, response.headers["Retry-After"]) == (503, str(wait_s))
    assert response.get_json()["detail"] == str(error)
    assert registry.get_sample_value(REGISTRY_ERRORS) == 0


def test_a_store_that_is_away_is_counted(
    asking: FlaskClient, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, registry: CollectorRegistry
) -> None:
    def away(*_: Any) -> None:
        raise Unavailable("no answer")

    monkeypatch.setattr(store, "slots", away)
    assert asking.get(query()).status_code == 503
    assert registry.get_sample_value(REGISTRY_ERRORS) == 1
