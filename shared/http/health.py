"""GET /healthz and /readyz: whether a process answers, and whether it can do its work now."""

from collections.abc import Callable, Mapping
from typing import Literal

from flask import Response, jsonify
from pydantic import BaseModel

from shared.domain.errors import Unavailable
from shared.http.app import OPEN, Routes
from shared.http.openapi import JSON, Answer, Operation

Check = Callable[[], bool]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Readiness(BaseModel):
    """Whether the process can do its work now."""

    ready: bool
    checks: dict[str, bool]


HEALTHZ = Operation(
    path="/healthz",
    name="healthz",
    summary="Whether the process answers",
    answers={200: Answer("It does.", {JSON: Alive}, example={"status": "ok"})},
    is_open=True,
)
READYZ = Operation(
    path="/readyz",
    name="readyz",
    summary="Whether the process can do its work now",
    answers={
        200: Answer("It can.", {JSON: Readiness}),
        503: Answer("It cannot; `checks` says what is missing.", {JSON: Readiness}),
    },
    is_open=True,
)
OPERATIONS = (HEALTHZ, READYZ)


def routes(checks: Callable[[], Mapping[str, Check]] | Mapping[str, Check]) -> Routes:
    """Build the routes, which ask nobody who they are: an orchestrator has no token.

    Args:
        checks: what has to hold for the process to be ready, by name; or what gives that for each question. They are
            called from any thread, all of them with every question.

    """
    routes = Routes("health", __name__, needs=OPEN)

    @routes.serves(HEALTHZ)
    def healthz() -> Response:
        return jsonify(status="ok")

    @routes.serves(READYZ)
    def readyz() -> tuple[Response, int]:
        asked = checks() if callable(checks) else checks
        held = {name: check() for name, check in asked.items()}
        ready = all(held.values())
        return jsonify(ready=ready, checks=held), 200 if ready else 503

    return routes


def answers(question: Callable[[], object]) -> Check:
    """Make a check of a question: it holds where that is answered, with whatever, and not where it is `Unavailable`."""

    def check() -> bool:
        try:
            question()
        except Unavailable:
            return False
        return True

    return check
