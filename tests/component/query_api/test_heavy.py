"""Heavy answers: few have a place, fewer a turn, and turns go round."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3
from flask import Flask, Request, Response
from prometheus_client import CollectorRegistry
from waitress.channel import ClientDisconnected
from werkzeug.test import EnvironBuilder

from query_api.answers.heavy import HeavyAnswers
from query_api.metrics import store_errors
from query_api.routes import energy, ships, top_users
from shared.domain.errors import Busy
from shared.domain.slots import Slots, Window
from shared.http.app import make_app
from shared.http.tokens import anybody
from shared.store.memory import MemoryStore
from tests.support.columns import as_columns
from tests.support.servers import HOST
from tests.support.serving import serving
from tests.support.store_contract import put, slots_of
from tests.support.strategies import START_US
from tests.support.waiting import until

LIGHT = [
    "/data?spaceship_id=1&start=2018-08-24T00:00Z&end=2018-08-25T00:00Z",
    "/data/fleet?start=2018-08-24T00:00Z&end=2018-11-24T00:00Z",
    "/ships?limit=100",
    "/ships/1",
    "/ships/1/readings",
]
HEAVY = [
    "/data?spaceship_id=2",
    "/data?spaceship_id=2&resolution=1mo&start=2018-01-01T00:00Z",
    "/data?spaceship_id=2&start=2018-01-01T00:00Z&end=2020-01-01T00:00Z&format=parquet",
    "/data/fleet?resolution=1d&end=2018-12-31T00:00Z",
    "/topusers",
    "/ships",
    "/ships/1/readings?limit=100000",
]


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """One ship of a day, and one of two readings that lie two years apart."""
    store = MemoryStore()
    put(store, as_columns([(1, START_US, 6.0, False, 0)]))
    put(store, slots_of((1, 0, 1.0, 900.0, False), (2, 0, 1.0, 900.0, False), (2, 96 * 700, 1.0, 900.0, False)))
    yield store
    store.close()


def asking(store: MemoryStore, heavy: HeavyAnswers) -> Flask:
    """Make an app of all that asks the store."""
    errors = store_errors(CollectorRegistry())
    made = (top_users.routes(store, errors, heavy), energy.routes(store, errors, heavy))
    return make_app(*made, ships.routes(store, errors, heavy), access=anybody)


@pytest.mark.parametrize("path", [*LIGHT, *HEAVY])
def test_what_a_question_may_cost_tells_whether_it_needs_a_place(store: MemoryStore, path: str) -> None:
    """One that needs a place and gets none is told when to come again."""
    heavy = HeavyAnswers(places=1)
    client = asking(store, heavy).test_client()
    with heavy.place(a_request()):
        found = client.get(path)
    assert found.status_code == (503 if path in HEAVY else 200)
    assert found.headers.get("Retry-After") == ("2" if path in HEAVY else None)
    assert client.get(path).status_code == 200
    assert heavy.taken == 0


@pytest.mark.parametrize(("ship", "is_heavy"), [(1, False), (2, True), (3, False)])
def test_an_open_window_is_as_long_as_what_is_stored(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, ship: int, *, is_heavy: bool
) -> None:
    heavy, taken = HeavyAnswers(), [0]
    slots = store.slots

    def counted(ship: int, window: Window) -> Slots:
        taken.append(heavy.taken)
        return slots(ship, window)

    monkeypatch.setattr(store, "slots", counted)
    client = asking(store, heavy).test_client()
    for window in ("", "&start=1970-01-01T00:00Z", "&end=2199-01-01T00:00Z"):
        assert client.get(f"/data?spaceship_id={ship}{window}").status_code == 200
    assert max(taken) == is_heavy


def test_a_light_question_is_answered_beside_as_many_heavy_ones_as_one_likes(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server that has more threads than heavy answers have places; no more are computed than have a turn."""
    heavy, may_end = HeavyAnswers(places=4, at_once=2, patience_s=60), threading.Event()
    computing = threading.Semaphore(0)
    slots = store.slots

    def slow(ship: int, window: Window) -> Slots:
        if ship == 2:
            computing.release()
            assert may_end.wait(60)
        return slots(ship, window)

    monkeypatch.setattr(store, "slots", slow)

    def ask(path: str) -> int:
        return urllib3.request("GET", f"http://{HOST}:{port}{path}", timeout=60, retries=False).status

    with serving(asking(store, heavy), threads=6) as port, ThreadPoolExecutor(24) as pool:
        try:
            asked = [pool.submit(ask, path) for path in HEAVY[:3] * 8]
            until(lambda: sum(each.done() for each in asked) == 24 - 4, "those without a place are refused")
            assert [ask(path) for path in LIGHT] == [200] * len(LIGHT)
            assert len(heavy.turns.waiting) == 2
            assert [computing.acquire(timeout=20) for _ in range(2)] == [True, True]
            assert not computing.acquire(blocking=False)
        finally:
            may_end.set()
        assert sorted(each.result() for each in asked) == [200] * 4 + [503] * 20


def a_request(*, is_gone: bool = False) -> Request:
    """Make a request as the server does."""
    return Request(EnvironBuilder(environ_overrides={"waitress.client_disconnected": lambda: is_gone}).get_environ())


def test_a_place_is_free_again_after_an_error_and_after_the_response_that_keeps_it() -> None:
    heavy = HeavyAnswers(places=1)
    with pytest.raises(KeyError), heavy.place(a_request()):
        raise KeyError
    response = Response()
    with heavy.place(a_request()) as place:
        place.keep(response)
    with pytest.raises(Busy), heavy.turn(a_request()):
        pass
    response.close()
    with heavy.turn(a_request()):
        pass


def test_a_turn_that_does_not_come_is_waited_for_in_vain() -> None:
    heavy = HeavyAnswers(at_once=1, patience_s=0.01)
    with heavy.turn(a_request()), pytest.raises(Busy), heavy.turn(a_request()):
        pass
    with heavy.turn(a_request()):
        pass


def test_nothing_is_computed_for_a_client_that_has_gone() -> None:
    heavy = HeavyAnswers(at_once=1, patience_s=0)
    with pytest.raises(ClientDisconnected), heavy.turn(a_request(is_gone=True)):
        pytest.fail("it has a turn")
    with heavy.turn(a_request()):
        pass


def test_turns_go_round() -> None:
    """One that has many pieces to compute takes turns with one that came later, though it never rests."""
    heavy, done = HeavyAnswers(at_once=1), list[str]()
    may_begin = threading.Event()

    def pieces(name: str) -> Iterator[str]:
        assert may_begin.wait(20)
        for _ in range(50):
            done.append(name)
            yield name

    def compute(name: str) -> None:
        with heavy.place(a_request()) as place:
            assert list(place.in_turns(pieces(name))) == [name] * 50

    threads = [threading.Thread(target=compute, args=(name,)) for name in "ab"]
    for each in threads:
        each.start()
    until(lambda: len(heavy.turns.waiting) == 1, "one waits while the other one computes")
    may_begin.set()
    for each in threads:
        each.join()
    assert done[:100] == [done[0], done[1]] * 50
    assert done[0] != done[1]
