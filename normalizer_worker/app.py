"""The worker's HTTP interface: GET /dead-letters."""

from typing import Annotated, Any

from flask import Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

from normalizer_worker.dead_letters import DeadLetters, Summary
from shared.http import Routes
from shared.moments import iso
from shared.parameters import WholeNumber, parse

SHOWN_DIGITS = 12
MAX_LIMIT = 1000


class LetterParameters(BaseModel):
    """How many dead letters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[WholeNumber, Field(ge=1, le=MAX_LIMIT, description="the newest so many")] = 50


def routes(letters: DeadLetters) -> Routes:
    """Build the routes over a folder's dead letters."""
    routes = Routes("dead_letters", __name__, needs="read")

    @routes.get("/dead-letters")
    def dead_letters() -> Response:
        asked = parse(LetterParameters, request.args)
        return jsonify(dead_letters=[_row(each) for each in letters.newest(asked.limit)], count=letters.count())

    return routes


def _row(letter: Summary) -> dict[str, Any]:
    """Write one down without its payload: that is for who may read the file, by `./power dead-letters show`."""
    return {
        "id": letter.digest.hex()[:SHOWN_DIGITS],
        "topic": letter.topic,
        "reason": letter.reason,
        "errors": [{"at": each.at, "problem": each.problem} for each in letter.problems],
        "first": iso(letter.first_us),
        "last": iso(letter.last_us),
        "times": letter.times,
        "bytes": letter.payload_bytes,
    }
