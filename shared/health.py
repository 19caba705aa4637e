"""GET /healthz and /readyz: whether a process answers, and whether it can do its work now."""

from collections.abc import Callable, Mapping

from flask import Response, jsonify

from shared.errors import Unavailable
from shared.http import OPEN, Routes

Check = Callable[[], bool]


def routes(checks: Mapping[str, Check]) -> Routes:
    """Build the routes, which ask nobody who they are: an orchestrator has no token.

    Args:
        checks: what has to hold for the process to be ready, by name. They are called from any thread, all of them
            with every question.

    """
    routes = Routes("health", __name__, needs=OPEN)

    @routes.get("/healthz")
    def healthz() -> Response:
        return jsonify(status="ok")

    @routes.get("/readyz")
    def readyz() -> tuple[Response, int]:
        held = {name: check() for name, check in checks.items()}
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
