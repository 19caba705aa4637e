"""A reading of 2199 that was stored before such were refused does no harm to what is told of now."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from query_api.metrics import store_errors
from query_api.routes import ships, top_users
from query_api.routes.stream import Streams
from shared.domain.timestamps import LAST_US, iso
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.memory import MemoryStore
from shared.store.sqlite import SqliteStore
from tests.support.columns import as_columns
from tests.support.store_contract import put, slots_of
from tests.support.strategies import START_US

DAY = 96
HOUR_US = 3_600_000_000
NOW_US = START_US + HOUR_US
FAR_US = LAST_US - 3 * HOUR_US
FAR = (FAR_US - START_US) // 900_000_000

Store = MemoryStore | SqliteStore


@pytest.fixture(params=[lambda _: MemoryStore(), SqliteStore], ids=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store with three ships that reported in time, the first one with an hour that goes on after now."""
    make: Callable[[Path], Store] = request.param
    store = make(tmp_path)
    put(store, as_columns([(1, START_US, 6.0, False, 0), (2, START_US, 6.0, False, 0), (2, NOW_US, 6.0, False, 0)]))
    put(store, slots_of((1, 0, 1.0, 900.0, False), (1, 7, 4.0, 900.0, True), (2, 0, 2.0, 450.0, False)))
    yield store
    store.close()


def _asking(store: Store) -> FlaskClient:
    errors, registry = store_errors(CollectorRegistry()), CollectorRegistry()
    streams = Streams(store, errors, registry, now_us=lambda: NOW_US)
    streams.end()  # each ends after the first events
    services = (
        top_users.routes(store, errors, now_us=lambda: NOW_US),
        ships.routes(store, errors, now_us=lambda: NOW_US),
        streams.routes(),
    )
    return make_app(*services, access=anybody).test_client()


def _far(store: Store, ship: int) -> None:
    put(store, as_columns([(ship, FAR_US, 6.0, False, 0)]))
    put(store, slots_of((ship, FAR, 1000.0, 900.0, True), (ship, FAR + 1, 1000.0, 900.0, True)))


def _told(store: Store) -> dict[str, Any]:
    """Return what is told of now."""
    asking = _asking(store)
    paths = ("/topusers?detail=true", "/topusers?start=2018-08-24&detail=true", "/data/stream?spaceship_id=1", "/ships")
    told: dict[str, Any] = {path: asking.get(path).text for path in paths}
    listed = asking.get("/ships").json
    assert listed is not None
    told["/ships"] = [{**each, "ahead": None} for each in listed["ships"] if each["last_reading"]]
    return told


@pytest.mark.parametrize("ship", [1, 3])
def test_a_slot_of_2199_changes_nothing_that_is_told_of_now(store: Store, ship: int) -> None:
    """Of a ship that reports, or of one with nothing else."""
    before = _told(store)
    assert "1000" not in str(before)
    assert '"consumption":5,"covered_share":0.25}' in before["/topusers?detail=true"]
    _far(store, ship)
    assert _told(store) == before
    state = _asking(store).get(f"/ships/{ship}").json
    assert state is not None
    assert state["ahead"] == iso(FAR_US)


def test_who_asks_for_2199_is_told(store: Store) -> None:
    _far(store, 3)
    asking = _asking(store)
    for query, ship in (("start=2199-01-01", 3), ("end=2199-12-31T23:00Z", 3), ("end=2200-01-01", 1)):
        found = asking.get(f"/topusers?{query}").json
        assert found is not None
        assert found["ships"][0]["spaceship_id"] == ship, query  # an end after 2199 is as if it were left out


def test_where_all_is_of_2199_nobody_has_used_anything(tmp_path: Path) -> None:
    for store in (MemoryStore(), SqliteStore(tmp_path)):
        _far(store, 3)
        assert _asking(store).get("/topusers?detail=true").json == {"datetime": None, "ships": []}
        store.close()
