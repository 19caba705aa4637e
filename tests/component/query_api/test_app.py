"""The query service counts where its store does not answer."""

import pytest
from prometheus_client import CollectorRegistry

from query_api.metrics import store_errors
from query_api.routes import energy
from query_api.routes.top_users import routes
from shared.domain.errors import Unavailable
from shared.domain.slots import Slots, Window
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.memory import MemoryStore


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
