"""GET /ships/{spaceship_id}/covariates: the table of a ship, as the gateway takes it with PUT."""

from typing import Annotated

from flask import Response, request
from prometheus_client import Counter
from pydantic import Field
from typing_extensions import TypedDict  # pydantic requires it before Python 3.12
from werkzeug.datastructures import MultiDict

from query_api.answers.rows import json_response
from query_api.routes.parameters import ShipPath
from shared.contract.covariates import CovariateRow, rows_of
from shared.domain.errors import Unavailable
from shared.domain.timestamps import iso
from shared.http.app import Routes
from shared.http.openapi import JSON, Answer, Operation, Timestamp
from shared.http.parameters import parse
from shared.store.port import EnergyReader


class ShipCovariates(TypedDict):
    """A ship's table of covariates."""

    spaceship_id: int
    sent_at: Annotated[Timestamp | None, Field(description="when it was sent or removed; null if there was none")]
    covariates: Annotated[list[CovariateRow], Field(description="by time")]


COVARIATES = Operation(
    path="/ships/<spaceship_id>/covariates",
    name="ship_covariates",
    summary="One ship's covariates, such as its planned speed",
    path_parameters=ShipPath,
    answers={200: Answer("The rows by time; without covariates there are none.", {JSON: ShipCovariates})},
)
OPERATIONS = (COVARIATES,)


def routes(store: EnergyReader, errors: Counter) -> Routes:
    """Build the route; `errors` counts queries for which the store is `Unavailable`."""
    routes = Routes("covariates", __name__, needs="read")

    @routes.serves(COVARIATES)
    @errors.count_exceptions(Unavailable)
    def covariates(spaceship_id: str) -> Response:
        ship = parse(
            ShipPath, MultiDict([*request.args.items(multi=True), ("spaceship_id", spaceship_id)])
        ).spaceship_id
        found = store.covariates(ship)
        sent_at, rows = (None, []) if found is None else (iso(found.sent_at_us), rows_of(found))
        return json_response({"spaceship_id": ship, "sent_at": sent_at, "covariates": rows})

    return routes
