"""GET /healthz and /readyz: liveness and readiness of a process."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from flask import Response, jsonify
from pydantic import BaseModel, Field

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
    details: Annotated[dict[str, str], Field(description="what is known of a part besides; may be missing")] = {}


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


def routes(
    checks: Callable[[], Mapping[str, Check]] | Mapping[str, Check], details: Callable[[], Mapping[str, str]] = dict
) -> Routes:
    """Return the routes, which need no access token: orchestrators have none.

    `checks` are the conditions to be ready, by name, or a function that returns them. Every request calls all of them,
    and `details`, from any thread.
    """
    routes = Routes("health", __name__, needs=OPEN)

    @routes.serves(HEALTHZ, is_exact=True)
    def healthz() -> Response:
        return jsonify(status="ok")

    @routes.serves(READYZ, is_exact=True)
    def readyz() -> tuple[Response, int]:
        asked = checks() if callable(checks) else checks
        held = {name: check() for name, check in asked.items()}
        ready = all(held.values())
        told = {"details": dict(told)} if (told := details()) else {}
        return jsonify(ready=ready, checks=held, **told), 200 if ready else 503

    return routes


def is_available(call: Callable[[], object]) -> Check:
    """Return a check that fails if a call raises `Unavailable`."""

    def check() -> bool:
        try:
            call()
        except Unavailable:
            return False
        return True

    return check
