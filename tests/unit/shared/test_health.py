"""GET /healthz and /readyz."""

from functools import partial

import pytest
from flask.testing import FlaskClient

from shared.domain.errors import Unavailable
from shared.http import health
from shared.http.app import make_app
from shared.http.tokens import anybody


def client(**held: bool) -> FlaskClient:
    return make_app(
        health.routes({name: partial(bool, is_so) for name, is_so in held.items()}), access=anybody
    ).test_client()


@pytest.mark.parametrize(
    ("held", "status"),
    [
        ({"broker": True, "store": True}, 200),
        ({"broker": True, "store": False}, 503),
        ({"broker": False, "store": False}, 503),
        ({}, 200),
    ],
)
def test_ready_is_where_every_check_holds(held: dict[str, bool], status: int) -> None:
    response = client(**held).get("/readyz")
    assert response.status_code == status
    assert response.json == {"ready": status == 200, "checks": held}


def test_what_is_known_besides_is_told_where_there_is_something() -> None:
    told = {"store": "what is committed is on the disks of two servers"}
    routes = health.routes({"store": lambda: False}, lambda: told)
    response = make_app(routes, access=anybody).test_client().get("/readyz")
    assert response.json == {"ready": False, "checks": {"store": False}, "details": told}


def test_a_process_that_is_not_ready_answers_all_the_same() -> None:
    response = client(broker=False).get("/healthz")
    assert (response.status_code, response.json) == (200, {"status": "ok"})


def test_a_check_follows_what_it_asks() -> None:
    outcomes = iter([None, Unavailable("10.0.0.7 is away"), None])

    def question() -> None:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome

    asking = make_app(health.routes({"store": health.is_available(question)}), access=anybody).test_client()
    responses = [asking.get("/readyz") for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 503, 200]
    assert "10.0.0.7" not in responses[1].text


def test_a_bug_in_a_check_is_not_ready_either(caplog: pytest.LogCaptureFixture) -> None:
    response = make_app(health.routes({"store": lambda: 1 // 0 == 0}), access=anybody).test_client().get("/readyz")
    assert response.status_code == 500
    assert "ZeroDivisionError" not in response.text
    assert "ZeroDivisionError" in caplog.text
