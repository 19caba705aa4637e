"""GET /access: what the access token of a request allows."""

from typing import Literal

from flask import Response
from typing_extensions import TypedDict  # pydantic requires it before Python 3.12

from query_api.answers.rows import json_response
from shared.http.app import Routes, caller
from shared.http.openapi import JSON, Answer, Operation


class Access(TypedDict):
    """The role of an access token."""

    role: Literal["read", "admin"]


ACCESS = Operation(
    path="/access",
    name="access",
    summary="What the access token of this request allows",
    answers={200: Answer("Its role; `admin` where the service requires no tokens.", {JSON: Access})},
)
OPERATIONS = (ACCESS,)


def routes() -> Routes:
    """Build the route."""
    routes = Routes("access", __name__, needs="read")

    @routes.serves(ACCESS)
    def access() -> Response:
        return json_response({"role": caller().role})

    return routes
