"""The worker's HTTP interface: GET /dead-letters."""

from typing import Annotated, Protocol

from flask import Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict  # pydantic wants it before Python 3.12

from normalizer_worker.ledger.dead_letter import DeadLetter
from shared.domain.timestamps import iso
from shared.http.app import Routes
from shared.http.openapi import JSON, Answer, Operation, Timestamp
from shared.http.parameters import DIGITS, parse

SHOWN_DIGITS = 12
MAX_LIMIT = 1000


class LetterList(Protocol):
    """Lists dead letters: `DeadLetters` those of a data folder, `AllLetters` those of a cluster."""

    def newest(self, limit: int) -> list[DeadLetter]:
        """Return the letters received last, the last one first, without their payloads."""

    def count(self) -> int:
        """Return the number of letters."""


class LetterParameters(BaseModel):
    """How many dead letters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[
        int, Field(ge=1, le=MAX_LIMIT, description="maximum number of dead letters; the newest are returned"), DIGITS
    ] = 50


class LetterFault(TypedDict):
    """One fault of a message."""

    at: str
    problem: str


class Letter(TypedDict):
    """A message that can never be stored."""

    id: str
    topic: str
    reason: str
    errors: list[LetterFault]
    first: Annotated[Timestamp, Field(description="first received")]
    last: Annotated[Timestamp, Field(description="last received")]
    times: Annotated[int, Field(description="times received")]
    bytes: Annotated[int, Field(description="size of the payload in bytes")]


class Letters(TypedDict):
    """Messages over MQTT that can never be stored, the newest first."""

    dead_letters: list[Letter]
    count: Annotated[int, Field(description="how many there are in all")]


DEAD_LETTERS = Operation(
    path="/dead-letters",
    name="dead_letters",
    summary="Messages over MQTT that can never be stored",
    query=LetterParameters,
    answers={200: Answer("The newest of them.", {JSON: Letters})},
)
OPERATIONS = (DEAD_LETTERS,)


def routes(letters: LetterList) -> Routes:
    """Build the routes over dead letters."""
    routes = Routes("dead_letters", __name__, needs="read")

    @routes.serves(DEAD_LETTERS)
    def dead_letters() -> Response:
        asked = parse(LetterParameters, request.args)
        return jsonify(dead_letters=[_row(each) for each in letters.newest(asked.limit)], count=letters.count())

    return routes


def _row(letter: DeadLetter) -> Letter:
    """Write one down without its payload: that is for who may read the file, by `./power dead-letters show`."""
    return {
        "id": letter.digest.hex()[:SHOWN_DIGITS],
        "topic": letter.topic,
        "reason": letter.reason,
        "errors": [LetterFault(at=each.at, problem=each.problem) for each in letter.problems],
        "first": iso(letter.first_us),
        "last": iso(letter.last_us),
        "times": letter.times,
        "bytes": letter.payload_bytes,
    }
