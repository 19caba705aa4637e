"""The query service counts where its store does not answer."""

import pytest
from prometheus_client import CollectorRegistry

from query_api.metrics import store_errors
from query_api.routes import energy, forecast, ships
from query_api.routes.top_users import routes
from shared.domain.errors import Unavailable
from shared.domain.slots import Slots, Window
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.memory import MemoryStore
from tests.support.columns import as_columns
from tests.support.store_contract import put, slots_of
from tests.support.strategies import START_US


def test_what_the_store_does_not_answer_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(ship: int, window: Window) -> Slots:
        raise Unavailable(f"no slots of {ship} in {window}")

    store, registry = MemoryStore(), CollectorRegistry()
    monkeypatch.setattr(store, "slots", away)
    errors = store_errors(registry)
    asking = make_app(routes(store, errors), energy.routes(store, errors), access=anybody).test_client()
    day = "start=2020-01-01T00:00Z&end=2020-01-02T00:00Z"
    paths = [f"/data?spaceship_id=1&{day}", "/data?spaceship_id=x", "/data/fleet", "/topusers"]
    assert [asking.get(path).status_code for path in paths] == [503, 422, 200, 200]
    assert registry.get_sample_value("power_query_store_errors_total") == 1


def test_a_slash_at_the_end_of_a_path_makes_no_difference() -> None:
    store, errors = MemoryStore(), store_errors(CollectorRegistry())
    put(store, as_columns([(1, START_US, 6.0, False, 0)]))
    put(store, slots_of((1, 0, 1.0, 900.0, True)))
    asking = make_app(
        routes(store, errors),
        energy.routes(store, errors),
        ships.routes(store, errors, now_us=lambda: START_US),
        forecast.routes(store, errors, None),
        access=anybody,
    ).test_client()
    for path, query in (
        ("/data", "?spaceship_id=1"),
        ("/data/fleet", ""),
        ("/topusers", "?count=1"),
        ("/ships", ""),
        ("/ships/1", ""),
        ("/ships/1/readings", "?limit=1"),
        ("/ships/1/deletions", ""),
        ("/forecast", "?spaceship_id=1"),
        ("/forecast/models", ""),
    ):
        plain, slashed = asking.get(path + query), asking.get(f"{path}/{query}")
        assert (slashed.status_code, slashed.data) == (plain.status_code, plain.data), path
        assert plain.status_code in (200, 422), path
