"""GET /dead-letters: the newest first, without what strangers wrote in them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from normalizer_worker.ledger.dead_letter import DeadLetter
from normalizer_worker.ledger.dead_letters import DeadLetters
from normalizer_worker.routes import routes
from shared.domain.errors import InvalidInput, Problem
from shared.http.app import make_app
from shared.http.tokens import access, anybody
from tests.support.tokens import bearer, token

BAD = InvalidInput("the batch is not valid", (Problem("data[0].value", "is missing"),))


@pytest.fixture
def letters(tmp_path: Path) -> Iterator[DeadLetters]:
    letters = DeadLetters(tmp_path)
    yield letters
    letters.close()


@pytest.fixture
def client(letters: DeadLetters) -> FlaskClient:
    return make_app(routes(letters), access=anybody).test_client()


def letter(ship: int, now_us: int) -> DeadLetter:
    return DeadLetter.of(f"ships/{ship}/readings", b"\xffsecret", BAD, now_us)


def test_without_any_the_list_is_empty(client: FlaskClient) -> None:
    assert client.get("/dead-letters").json == {"dead_letters": [], "count": 0}


def test_a_letter_is_told_without_its_payload(client: FlaskClient, letters: DeadLetters) -> None:
    letters.keep([letter(1, 5_000_000)])
    letters.keep([letter(1, 7_500_000)])
    response = client.get("/dead-letters")
    assert response.json == {
        "dead_letters": [
            {
                "id": letter(1, 0).digest.hex()[:12],
                "topic": "ships/1/readings",
                "reason": "the batch is not valid",
                "errors": [{"at": "data[0].value", "problem": "is missing"}],
                "first": "1970-01-01T00:00:05Z",
                "last": "1970-01-01T00:00:07.500000Z",
                "times": 2,
                "bytes": 7,
            }
        ],
        "count": 1,
    }
    assert b"secret" not in response.data


def test_the_newest_come_first_and_all_are_counted(client: FlaskClient, letters: DeadLetters) -> None:
    letters.keep([letter(ship, 1_000_000 * ship) for ship in (2, 3, 1)])
    answer = client.get("/dead-letters?limit=2").get_json()
    assert [each["topic"] for each in answer["dead_letters"]] == ["ships/3/readings", "ships/2/readings"]
    assert answer["count"] == 3


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=1.0", "limit=2&limit=2", "colour=red"])
def test_wrong_parameters_are_named(client: FlaskClient, query: str) -> None:
    response = client.get(f"/dead-letters?{query}")
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["at"] == query.partition("=")[0]


def test_they_are_for_who_may_read(letters: DeadLetters) -> None:
    tokens = (token("reader", "read"), token("sender", "ingest"))
    client = make_app(routes(letters), access=partial(access, tokens)).test_client()
    answers = [client.get("/dead-letters", headers=headers) for headers in (bearer("reader"), bearer("sender"), {})]
    assert [each.status_code for each in answers] == [200, 403, 401]
